// latency.mjs SECONDS: inside a VM, asks the agent once a second for that long; prints the slowest answer in ms and what
// it said of its storage domains meanwhile.
const dist = '/usr/lib/drover/dist'
const { RpcClient } = await import(`${dist}/common/client.js`)
const { systemClock } = await import(`${dist}/common/clock.js`)
const { agentServices } = await import(`${dist}/proto/load.js`)

const client = new RpcClient({ unixPath: '/run/drover/agent.sock' }, systemClock)
const end = performance.now() + Number(process.argv[2]) * 1000
const ask = method => client.call(method, {}, AbortSignal.timeout(30_000))
await ask(agentServices.host.GetHost)

let slowest = 0
const healths = new Set()
while (performance.now() < end) {
  const begin = performance.now()
  await ask(agentServices.host.GetHost)
  const { storageDomains } = await ask(agentServices.storage.ListStorageDomains)
  slowest = Math.max(slowest, performance.now() - begin)
  for (const { health } of storageDomains) healths.add(health)
  await new Promise(resolve => setTimeout(resolve, 1000))
}
console.log(JSON.stringify({ slowest: Math.round(slowest), healths: [...healths] }))
client.close()
