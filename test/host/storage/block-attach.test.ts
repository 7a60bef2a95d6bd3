import t, { type Test } from 'tap'
import { pino } from 'pino'
import { systemClock } from '../../../common/clock.js'
import { commandRunner } from '../../../common/run.js'
import { BlockStorageDomain } from '../../../storage/block-storage-domain.js'
import { metadataTagChange, readMetadataTags } from '../../../storage/format/block-tags.js'
import { Sanlock } from '../../../storage/sanlock.js'
import type { Arguments, Verb } from '../../../storage/verbs.js'
import { never, storageDomainId, twoHosts, type TwoHosts } from '../extender/thin-world.js'
import { skipped } from './block-world.js'

// With real sanlock daemons there is no manager before the first host has joined, nor after the last has left: who
// changes a storage domain then joins for that moment. Processes of their own ask, as agents of two installations.

const [ours, theirs] = ['11111111-2222-4333-8444-555555555555', '99999999-2222-4333-8444-555555555555']

async function unused(t: Tap) {
  const hosts = await twoHosts()
  t.teardown(() => hosts.end())
  const { one, two } = hosts
  for (const host of [one, two]) await host.ask(storageDomainId, 'deactivate', {}, never)
  const ask = <V extends Verb>(host: TwoHosts['one'], verb: V, request: Arguments<V>) =>
    host.askOnce({ storageDomainId, mount: '', devices: [hosts.device] }, verb, request, never)
  const owner = async () => (await ask(two, 'describe', {})).metadata.poolIds.join()
  /** The lockspaces that a host's daemon has joined. */
  const joined = async (name: 'host1' | 'host2') =>
    (await hosts.daemons.client(name, 'status')).split('\n').filter(line => line.startsWith('s '))
  const noneJoined = async () => t.strictSame([...(await joined('host1')), ...(await joined('host2'))], [])
  return { ...hosts, ask, owner, joined, noneJoined }
}

type Tap = Test
const options = { timeout: 300_000, skip: skipped }

t.test('a block storage domain that hosts have joined stays where it is', options, async t => {
  const hosts = await twoHosts()
  t.teardown(() => hosts.end())
  const { one, two } = hosts
  const detach = () => one.ask(storageDomainId, 'detach', {}, never)
  await t.rejects(detach(), /is active and cannot be detached/)
  await one.ask(storageDomainId, 'deactivate', {}, never)
  await t.rejects(detach(), /uses storage domain/)
  await two.ask(storageDomainId, 'deactivate', {}, never)
  await detach()
  t.strictSame((await two.ask(storageDomainId, 'describe', {}, never)).metadata.poolIds, [])
  await one.ask(storageDomainId, 'attach', { dataCenterId: theirs }, never)
  t.strictSame((await two.ask(storageDomainId, 'describe', {}, never)).metadata.poolIds, [theirs])
})

t.test(
  'two installations that attach it at the same moment: one has it, the other hears so',
  options,
  async t => {
    const { ask, one, two, owner, noneJoined } = await unused(t)
    await ask(one, 'detach', { sanlockHostId: 1 })
    const outcomes = await Promise.allSettled([
      ask(one, 'attach', { dataCenterId: ours, sanlockHostId: 1 }),
      ask(two, 'attach', { dataCenterId: theirs, sanlockHostId: 2 })
    ])
    const won = outcomes.flatMap(({ status }, n) => (status === 'fulfilled' ? [[ours, theirs][n]] : []))
    t.equal(won.length, 1, JSON.stringify(outcomes))
    t.equal(await owner(), won[0])
    const refused = outcomes.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    t.match(String(refused.reason), /belongs to data center|uses storage domain/)
    await noneJoined()
  }
)

t.test(
  'a process that is killed at any step of it: the next attempt ends it, and nobody stays joined',
  options,
  async t => {
    const { ask, one, owner, joined, noneJoined } = await unused(t)
    const killedAt = async <V extends Verb>(point: string, verb: V, request: Arguments<V>) => {
      Object.assign(process.env, { NODE_ENV: 'test', DROVER_CRASHPOINTS: `kill@${point}` })
      try {
        await t.rejects(ask(one, verb, request), /ended during/, `killed at ${point}`)
      } finally {
        delete process.env['DROVER_CRASHPOINTS']
      }
    }
    const visit = { sanlockHostId: 1 }
    const attach = { dataCenterId: ours, ...visit }
    for (const step of ['alone', 'metadata/tags', 'done']) {
      await killedAt(`storage-domain.detach/${step}`, 'detach', visit)
      t.equal((await joined('host1')).length, 1, 'the daemon is joined still')
      await ask(one, 'detach', visit)
      t.equal(await owner(), '')
      await killedAt(`storage-domain.attach/${step}`, 'attach', attach)
      await ask(one, 'attach', attach)
      t.equal(await owner(), ours)
    }
    await ask(one, 'detach', visit)
    await noneJoined()
  }
)

t.test('format V4 becomes V5 with the real daemon', options, async t => {
  const { ask, one, two, device, root, daemons, noneJoined } = await unused(t)
  await ask(one, 'detach', { sanlockHostId: 1 })
  const log = pino({ level: 'silent' })
  const run = commandRunner(log)
  const sanlock = new Sanlock({ mode: 'direct', runDirectory: null }, run, systemClock)
  const tools = { run, sanlock, clock: systemClock, log, owner: null, runDirectory: `${root}/host1/run` }
  const { group, onHost } = await BlockStorageDomain.open(storageDomainId, [device], tools)
  const { tags } = await group.read()
  const v4 = new Map(readMetadataTags(tags))
    .set('VERSION', '4')
    .set('LOGBLKSIZE', '512')
    .set('PHYBLKSIZE', '512')
  for (const key of ['ALIGNMENT', 'BLOCK_SIZE']) v4.delete(key)
  await group.change({ kind: 'changeVgTags', vg: group.vg, ...metadataTagChange(tags, v4) }, never)
  await onHost.close()
  t.match(await ask(one, 'convert', { isApplied: false }), { from: 4, obstacle: null })
  const outcomes = await Promise.allSettled([
    ask(one, 'convert', { isApplied: true, sanlockHostId: 1 }),
    ask(two, 'convert', { isApplied: true, sanlockHostId: 2 })
  ])
  t.ok(
    outcomes.some(({ status }) => status === 'fulfilled'),
    JSON.stringify(outcomes)
  )
  t.equal((await ask(two, 'describe', {})).metadata.version, 5)
  t.ok(daemons)
  await noneJoined()
})
