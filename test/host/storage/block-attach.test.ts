import t from 'tap'
import { never, storageDomainId, twoHosts } from '../extender/thin-world.js'

// With real sanlock daemons there is no manager before the first host has joined, nor after the last has left.

t.test(
  'a block storage domain that nobody has joined changes its data center',
  { timeout: 120_000 },
  async t => {
    const hosts = await twoHosts()
    t.teardown(() => hosts.end())
    const { one, two } = hosts
    const attach = (dataCenterId: string) => one.ask(storageDomainId, 'attach', { dataCenterId }, never)
    const detach = () => one.ask(storageDomainId, 'detach', {}, never)
    const owner = async () => (await two.ask(storageDomainId, 'describe', {}, never)).metadata.poolIds

    await t.rejects(detach(), /is active and cannot be detached/)
    await one.ask(storageDomainId, 'deactivate', {}, never)
    await t.rejects(detach(), /uses storage domain/)
    await two.ask(storageDomainId, 'deactivate', {}, never)
    await detach()
    t.strictSame(await owner(), [])
    const other = '99999999-2222-4333-8444-555555555555'
    await attach(other)
    t.strictSame(await owner(), [other])
  }
)
