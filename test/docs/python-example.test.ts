import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { coordinatorServices as services } from '../../proto/load.js'
import { coordinatorWorld } from '../coordinator/world.js'
import { fakeCoordinator } from '../fakes/fake-coordinator.js'

const python = '/usr/bin/python3'
const script = 'docs/examples/python/create_vm.py'
const packaged = existsSync('/usr/lib/python3/dist-packages/grpc')
const skip = packaged ? false : 'python3-grpcio is not installed'

async function runScript(address: string, args: string[]) {
  const run = promisify(execFile)(python, [script, '--address', address, ...args], {
    timeout: 60_000
  })
  return run.then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    (error: { stdout: string; stderr: string; code: number }) => error
  )
}

t.test('a Python client without generated code creates and starts a VM', { skip }, async t => {
  const { socket, world } = await fakeCoordinator(t)
  const args = ['--name', 'web', '--cluster', 'main', '--template', 'debian-12', '--memory-mib', '512']
  const { stdout, stderr, code } = await runScript(`unix:${socket}`, args)
  t.equal(code, 0, stderr)
  t.match(stdout, /creating VM web\n {2}vm\.create 0 %[\s\S]*VM web [0-9a-f-]{36} VM_STATUS_UP on host/)
  t.match([...world.vms.values()], [{ name: 'web', memoryBytes: '536870912', status: 'VM_STATUS_UP' }])
})

t.test('a Python client is told what is wrong with its request', { skip }, async t => {
  const { socket } = await fakeCoordinator(t)
  const args = ['--name', ' web', '--cluster', 'main', '--template', 'debian-12']
  const { stderr, code } = await runScript(`unix:${socket}`, args)
  t.equal(code, 1)
  t.match(stderr, /INVALID_ARGUMENT: vm\.name must not begin or end with a space/)
  t.match(stderr, /BadRequest: field_violations \{\n {2}field: "vm\.name"/)
})

t.test('it works over TLS with a certificate of the installation', { skip }, async t => {
  const { overTls, folder, world } = await fakeCoordinator(t)
  const port = await overTls()
  const args = ['--ca', `${folder}/ca.pem`, '--cert', `${folder}/admin.pem`, '--key', `${folder}/admin.key`]
  const vm = [
    '--server-name',
    'coordinator.test',
    '--name',
    'web',
    '--cluster',
    'main',
    '--template',
    'debian-12'
  ]
  const { stderr, code } = await runScript(`127.0.0.1:${port}`, [...args, ...vm])
  t.equal(code, 0, stderr)
  t.equal([...world.vms.values()][0]?.status, 'VM_STATUS_UP')
})

t.test('it works with a whole coordinator', { skip }, async t => {
  const world = await coordinatorWorld(t)
  await world.addHost(await world.createCluster('main'), 'a')
  const done = async ({ jobId }: { jobId: string }) => {
    await world.until(async () => {
      const { state } = await world.call(services.job.GetJob, { jobId })
      return state === 'JOB_STATE_SUCCEEDED'
    })
    return (await world.call(services.job.GetJob, { jobId })).objects
  }
  const connection = { kind: 'posix' as const, posix: { path: '/srv/store' } }
  const storageDomain = { name: 'store', connection }
  const made = await done(await world.mutate(services.storageDomain.CreateStorageDomain, { storageDomain }))
  const disk = { name: 'base', storageDomainId: made['storageDomain'] ?? '', capacity: String(2 ** 30) }
  const { disk: diskId = '' } = await done(await world.mutate(services.disk.CreateDisk, { disk }))
  const template = { name: 'debian-12', diskIds: [diskId] }
  await done(await world.mutate(services.template.CreateTemplate, { template }))

  const args = ['--name', 'web', '--cluster', 'main', '--template', 'debian-12', '--memory-mib', '512']
  const { stdout, stderr, code } = await runScript(`unix:${world.config.socket}`, args)
  t.equal(code, 0, stderr)
  t.match(stdout, /VM web [0-9a-f-]{36} VM_STATUS_(POWERING_)?UP on host/)
  const vm = await world.call(services.vm.GetVm, { vmId: 'web' })
  t.match(vm, { name: 'web', memoryBytes: String(2 ** 29), status: /UP$/ })
})
