import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { Extender, type ExtenderParts, key, type ThinDisk } from '../../../agent/extender/extender.js'
import { FastPath } from '../../../agent/extender/fast-path.js'
import { adaptivePolicy, type ThinPolicy } from '../../../agent/extender/policy.js'
import { Ways } from '../../../agent/extender/ways.js'
import { peerService, type PeerVolumes } from '../../../agent/services/peer.js'
import { StorageWorkers } from '../../../agent/storage-workers.js'
import { RpcClient } from '../../../common/client.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { RpcServer } from '../../../common/server.js'
import { type Bytes, bytes, GiB, MiB, seconds } from '../../../common/units.js'
import { blockInfo, setBlockThreshold } from '../../../libvirt/block-job.js'
import { monitorCommand } from '../../../libvirt/monitor.js'
import { domainStats } from '../../../libvirt/stats.js'
import { agentServices, descriptorSet, standardServices } from '../../../proto/load.js'
import { authority } from '../../fakes/authority.js'
import { libvirtWorld, soon } from '../libvirt/world.js'
import { removeBlockWorld, newDevice } from '../storage/block-world.js'
import { PrivateSanlock } from '../storage/private-sanlock.js'

// Two hosts on one block storage domain: real LVM on a loop device, real sanlock daemons, real storage workers, the
// network between the agents with mutual TLS. On host 2 runs a real libvirtd with a guest that has no operating
// system: QEMU's own qemu-io writes as the guest would. Host 1 manages.

const execute = promisify(execFile)
const log = pino({ level: process.env['DROVER_TEST_LOG'] ?? 'silent' }, pino.destination(2))
export const storageDomainId = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5d01'
const dataCenterId = '11111111-2222-4333-8444-555555555555'
const installation = '22222222-2222-4333-8444-555555555555'
const hostId = (n: number) => `33333333-2222-4333-8444-55555555555${n}`
export const never = new AbortController().signal

/** Everything but a guest. */
export async function twoHosts({ size = GiB(100) as number } = {}) {
  const root = await mkdtemp('/dev/shm/drover-thin-')
  const daemons = await PrivateSanlock.create()
  const device = await newDevice(root, 'pv0.img', size)
  const ends: Array<() => Promise<unknown>> = [
    async () => {
      // What stands on the device first, then the device.
      const { stdout } = await execute('losetup', ['--associated', device])
      for (const [loop] of stdout.matchAll(/^[^:]+/gm)) await execute('losetup', ['--detach', loop])
      await removeBlockWorld({ root, devices: [device] } as never)
    },
    () => daemons.end()
  ]
  const end = async () => {
    for (const last of ends.toReversed()) await last().catch((error: unknown) => console.error(error))
  }
  const host = async (name: string) => {
    await daemons.start(name)
    await mkdir(`${root}/${name}`)
    const sanlock = { mode: 'daemon' as const, runDirectory: daemons.runDirectory(name) }
    const settings = {
      runDirectory: `${root}/${name}/run`,
      ...{ importDirectory: null, owner: null, sanlock, logLevel: process.env['DROVER_TEST_LOG'] ?? 'error' }
    }
    const workers = new StorageWorkers({ settings, clock: systemClock, log })
    ends.push(() => workers.stopAll())
    workers.start(storageDomainId, { mount: '', devices: [device] })
    return workers
  }
  try {
    const one = await host('host1')
    const two = await host('host2')
    const about = { storageDomainId, devices: [device], kind: 'iscsi' as const, description: 'thin' }
    await one.ask(
      storageDomainId,
      'createBlockStorageDomain',
      { ...about, dataCenterId, ioTimeout: seconds(1) },
      never
    )
    await Promise.all([
      one.ask(storageDomainId, 'activate', { sanlockHostId: 1 }, never),
      two.ask(storageDomainId, 'activate', { sanlockHostId: 2 }, never)
    ])
    const network = await networkTo(one)
    ends.push(network.end)
    const ways = waysOf(two, network)
    return { root, device, daemons, one, two, network, ways, ends, end }
  } catch (error) {
    await end()
    throw error
  }
}

export type TwoHosts = Awaited<ReturnType<typeof twoHosts>>

/** The agent of host 1, as far as host 2 asks it. */
async function networkTo(workers: StorageWorkers) {
  const { issue, trust } = await authority()
  const of = (n: number) => issue({ uris: [`drover://${installation}/host/${hostId(n)}`] })
  const [own, other] = [
    { ...(await of(1)), trust },
    { ...(await of(2)), trust }
  ]
  const server = new RpcServer({
    ...{ log, clock: systemClock },
    contract: { descriptorSet, standardServices },
    trust: { installation: () => installation, denies: () => false }
  })
  const volumes: PeerVolumes = {
    extend: async (id, volume, signal) => {
      const { isManager } = await workers.ask(id, 'managerState', {}, signal)
      if (!isManager) throw new Fault('NOT_MANAGER', 'not here')
      const [extended] = await workers.ask(id, 'extendVolumes', { volumes: [volume] }, signal)
      if (!extended || extended.failure)
        throw new Fault(extended?.failure?.reason ?? 'INTERNAL', 'not extended')
      return extended.size
    },
    refresh: async () => bytes(0),
    handOver: async id => (await workers.ask(id, 'handOverManager', {}, never)).isFree
  }
  server.add(agentServices.peer, peerService(null as never, '', volumes, null as never)).addStandard()
  const port = await server.listenTls({
    host: '127.0.0.1',
    port: 0,
    certificates: own,
    allowAnonymous: false
  })
  const expect = ({ id }: { id: string }) => id === hostId(1)
  const target = { address: `127.0.0.1:${port}`, trust, identity: other, expect }
  const fast = new FastPath(() => new RpcClient(target, systemClock), systemClock)
  const network = {
    isCut: false,
    extend: async (...args: Parameters<FastPath['extend']>): Promise<Bytes> => {
      if (network.isCut) throw new Fault('HOST_UNREACHABLE', 'the network is cut')
      return fast.extend(...args)
    },
    end: async () => {
      fast.close()
      await server.stop(seconds(0.1))
    }
  }
  return network
}

function waysOf(workers: StorageWorkers, network: Awaited<ReturnType<typeof networkTo>>): Ways {
  const ask: StorageWorkers['ask'] = (...args) => workers.ask(...args)
  return new Ways({
    worker: {
      extend: async ({ storageDomainId: id, volumeId, to }, signal) => {
        const [extended] = await ask(id, 'extendVolumes', { volumes: [{ volumeId, to }] }, signal)
        if (!extended) throw new Error('no answer')
        return extended
      },
      askManager: ({ storageDomainId: id, volumeId, to }, signal) =>
        ask(id, 'askManager', { volumeId, to }, signal),
      manager: async (id, signal) => {
        const { isManager, owner } = await ask(id, 'managerState', {}, signal)
        return { isManager, ownerSanlockHostId: owner?.sanlockHostId ?? null }
      },
      takeManager: async (id, signal) => void (await ask(id, 'takeManager', {}, signal))
    },
    peer: (id, wanted, signal) => network.extend(id, wanted, signal),
    hostIdOf: number => (number === 1 ? hostId(1) : null),
    ownHostId: () => hostId(2),
    ...{ clock: systemClock, log }
  })
}

export const volume = (change: {
  imageId: string
  volumeId: string
  capacity: Bytes
  initialSize?: Bytes
}) => ({
  ...{ parent: null, format: 'qcow2' as const, allocation: 'thin' as const },
  ...{ diskContent: 'DATA', description: '', legal: true },
  ...change
})

/** Chunks as small as LVM's extents; half of one free at the least. */
export const smallChunks: ThinPolicy = {
  ...adaptivePolicy,
  chunk: { least: MiB(128), most: MiB(1024) },
  free: { least: MiB(64), most: MiB(1024) },
  burst: 0,
  burstRoom: MiB(0)
}

/** A guest on host 2 with one thin disk, watched by the real extender over the real ways. */
export async function thinGuest(hosts: TwoHosts, policy: ThinPolicy, capacity: Bytes) {
  const { two, ways, ends } = hosts
  const [imageId, volumeId] = [randomUUID(), randomUUID()]
  const made = volume({ imageId, volumeId, capacity, initialSize: MiB(116) })
  await hosts.one.ask(storageDomainId, 'createVolume', made, never)
  const [leaf] = await two.ask(storageDomainId, 'prepare', { imageId, volumeId }, never)
  if (!leaf) throw new Error('no volume was prepared')
  // Clusters of 2 MiB: a write of 4 KiB takes up 2 MiB of the volume and next to no memory of this machine.
  await execute('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    'cluster_size=2M',
    leaf.path,
    String(capacity)
  ])
  const world = await libvirtWorld()
  ends.push(() => world[Symbol.asyncDispose]())
  const diskId = randomUUID()
  const disk = `
    <disk type='block' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' error_policy='stop' rerror_policy='stop'/>
      <source dev='${leaf.path}'/>
      <target dev='vda' bus='virtio'/>
      <alias name='ua-${diskId}'/>
    </disk>`
  const guest = await world.boot({ devices: disk })
  const seen: ThinDisk = {
    ...{ vmId: guest.uuid, target: 'vda', device: 'vda[1]', diskId, storageDomainId, volumeId },
    isMirrored: false
  }
  const armed: Array<{ threshold: Bytes | null; at: number }> = []
  const parts: ExtenderParts = {
    ...{ policy, clock: systemClock, log },
    disks: async () => [seen],
    usage: async uuids => {
      const [stats] = await domainStats(world.libvirt, { groups: ['block'], uuids }, soon())
      const found = stats?.disks[0]
      const sized = (value: number | null | undefined) => (value == null ? null : bytes(value))
      const usage = {
        capacity: sized(found?.capacity),
        physical: sized(found?.physical),
        allocation: sized(found?.allocation)
      }
      return new Map([[key(guest.uuid, 'vda'), usage]])
    },
    arm: async (_, threshold, signal) => {
      await setBlockThreshold(guest, 'vda[1]', threshold, signal)
      armed.push({ threshold, at: performance.now() })
    },
    extend: (wanted, signal) => ways.extend(wanted, signal),
    refresh: async (_, signal) => {
      const [size] = await two.ask(storageDomainId, 'refreshVolumes', { volumeIds: [volumeId] }, signal)
      return size?.size ?? bytes(0)
    },
    destinationOf: () => null,
    refreshAt: async () => bytes(0),
    resume: (_, signal) => guest.resume(signal),
    isPausedForSpace: () => false,
    isRunning: () => true,
    freeSpace: () => null,
    note: () => {}
  }
  const extender = new Extender(parts)
  /** When libvirt told, on the clock of `armed`. */
  const told: number[] = []
  let heard = 0
  const hear = () => {
    for (const event of world.events.slice(heard)) {
      heard++
      if (event.kind === 'blockThreshold') {
        if (event.dev === 'vda[1]') told.push(performance.now())
        extender.onThreshold(event.uuid, event.dev, bytes(event.threshold), bytes(event.excess), never)
      } else if (event.kind === 'ioError' && event.noSpace) {
        extender.onNoSpace(event.uuid, event.alias, never)
      }
    }
  }
  // The world's own listener keeps events in order; this one looks at each as soon as it is there.
  const push = world.events.push.bind(world.events)
  world.events.push = (...events) => {
    const length = push(...events)
    hear()
    return length
  }
  let next = 0
  /** One cluster, as a guest would write it. */
  const write = async (length = 4096) => {
    const at = next
    next += 2 * 2 ** 20
    const path = `/machine/peripheral/ua-${diskId}/virtio-backend`
    const command = `qemu-io -d ${path} "write -P 1 ${at} ${length}"`
    return monitorCommand(guest, command, { human: true }, soon())
  }
  const usage = () => blockInfo(guest, 'vda', soon())
  const show = () => extender.show(diskId)
  return { guest, world, extender, armed, told, write, usage, show, volumeId, imageId, leaf }
}

/** Looks until it is so. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, limit = 30): Promise<void> {
  const began = performance.now()
  while (!(await isSo())) {
    if (performance.now() - began > limit * 1000) throw new Error(`not within ${limit} s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
