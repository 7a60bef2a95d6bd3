import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { type Answer } from '../agent/client.js'
import { cluster, type ClusterHost, stamped } from '../agent/cluster.js'
import { diskless } from '../agent/world.js'
import { newDevice } from '../storage/block-world.js'
import { PrivateSanlock } from '../storage/private-sanlock.js'
import { WritingGuest } from './writing-guest.js'

// Two whole agents on one block storage domain, each with a libvirtd and a sanlock daemon of its own. Between them
// lie cables that can be cut. The guests are of one sector and really write.

const execute = promisify(execFile)
export const GiB = 2 ** 30

/** A port in front of another; while it is cut whatever is sent vanishes, as with a cable. */
async function cable(address: string) {
  const [host = '', port = ''] = address.split(':')
  const sockets = new Set<Socket>()
  let isCut = false
  const server = createServer(near => {
    const far = createConnection(Number(port), host)
    for (const [one, other] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(one)
      one.on('data', data => isCut || other.write(data))
      one.on('end', () => isCut || other.end())
      one.on('error', () => other.destroy())
      one.on('close', () => (sockets.delete(one), other.destroy()))
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const hangUp = () => sockets.forEach(socket => socket.destroy())
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => (isCut = true),
    mend: () => {
      isCut = false
      hangUp()
    },
    end: () => {
      hangUp()
      server.close()
    }
  }
}

/** A process that sees one directory in place of another: an agent knows one place for sanlock's socket. */
async function withMount(directory: string, over: string) {
  const script = 'mkdir -p "$1"; mount --bind "$0" "$1" && echo ready && exec sleep infinity'
  const words = ['-m', '--propagation', 'private', 'sh', '-c', script, directory, over]
  const holder = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  return holder
}

export async function thinAgents({ size = 40 * GiB } = {}) {
  const sanlock = await PrivateSanlock.create()
  const root = await mkdtemp('/dev/shm/drover-thin-agents-')
  const device = await newDevice(root, 'pv0.img', size)
  const ends: Array<() => Promise<unknown>> = [
    () => rm(root, { recursive: true, force: true }),
    async () => {
      // What stands on the device first, then the device.
      const { stdout } = await execute('losetup', ['--associated', device])
      for (const [loop] of stdout.matchAll(/^[^:]+/gm)) await execute('losetup', ['--detach', loop])
      await execute('losetup', ['--detach', device])
    },
    () => sanlock.end()
  ]
  const end = async () => {
    for (const last of ends.toReversed()) await last().catch((error: unknown) => console.error(error))
  }
  try {
    const mounts: number[] = []
    for (const n of [1, 2]) {
      await sanlock.start(`host${n}`)
      const holder = await withMount(sanlock.runDirectory(`host${n}`), '/run/sanlock')
      ends.push(async () => holder.kill('SIGKILL'))
      mounts.push(holder.pid ?? 0)
    }
    const settings = {
      ...{ unsafe_without_sanlock: false, thin_least_chunk_mib: 128, thin_most_chunk_mib: 128 },
      manager_idle_seconds: 600,
      migration_first_port: 30_000 + Math.floor(Math.random() * 10_000)
    }
    const house = await cluster(2, settings, n => mounts[n - 1] ?? null)
    ends.push(() => house[Symbol.asyncDispose]())
    const [a, b] = house.hosts as [ClusterHost, ClusterHost]
    const cables = await Promise.all(house.hosts.map(({ address }) => cable(address)))
    ends.push(async () => cables.forEach(each => each.end()))
    const peers = house.hosts.map(({ hostId }, n) => ({
      hostId,
      address: cables[n]!.address,
      sanlockHostId: n + 1
    }))
    for (const [n, { coordinator }] of house.hosts.entries()) {
      await coordinator.mutate('host', 'Welcome', stamped({ sanlockHostId: n + 1, peers }))
    }
    const storageDomainId = randomUUID() as string
    const done = async (host: ClusterHost, service: 'storage' | 'vm', method: string, request: object) => {
      const task = await host.coordinator.task(service, method, stamped(request))
      if (task['state'] !== 'TASK_STATE_SUCCEEDED') {
        const said = (await host.world.log()).split('\n').filter(line => line.includes('"err"'))
        throw new Error(`${method}: ${JSON.stringify(task['failure'])} ${said.slice(-2).join('\n')}`)
      }
      return task
    }
    const store = (host: ClusterHost, method: string, request: object = {}) =>
      done(host, 'storage', method, { storageDomainId, ...request })
    const connection = { block: { devices: [device] } }
    const about = { description: 'thin', dataCenterId: randomUUID(), ioTimeoutSeconds: 1 }
    await store(a, 'CreateStorageDomain', { connection, ...about })
    await store(b, 'ConnectStorageDomain', { connection })
    await Promise.all([a, b].map((host, n) => store(host, 'ActivateStorageDomain', { sanlockHostId: n + 1 })))

    const volume = async (host: ClusterHost, capacity: number, more: object = {}) => {
      const place = { imageId: randomUUID() as string, volumeId: randomUUID() as string }
      const kind = { format: 'DISK_FORMAT_QCOW2', allocation: 'ALLOCATION_POLICY_THIN' }
      await store(host, 'CreateVolume', { ...place, ...kind, capacity: String(capacity), ...more })
      if (!('format' in more)) await largeClusters(device, `${storageDomainId}/${place.volumeId}`, capacity)
      return place
    }
    return { a, b, cables, house, sanlock, device, storageDomainId, done, store, volume, ends, end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Made anew in its place with clusters of 2 MiB, which the guest takes up with a sector each, and small at first. */
async function largeClusters(pv: string, path: string, capacity: number): Promise<void> {
  const words = ['--devices', pv, '--noheadings', '--nosuffix', '--units', 'b', '-o']
  const env = { ...process.env, LVM_SUPPRESS_FD_WARNINGS: '1' }
  const ask = async (what: string, field: string, name: string) =>
    (await execute('lvm', [what, '--driverloaded', 'n', ...words, field, name], { env })).stdout.trim()
  const less = [
    '--driverloaded',
    'n',
    '--devices',
    pv,
    '--autobackup',
    'n',
    '--force',
    '--yes',
    '--size',
    '512m'
  ]
  await execute('lvm', ['lvreduce', ...less, path], { env })
  const extent = /\((\d+)\)/.exec(await ask('lvs', 'devices', path))?.[1]
  const offset = Number(await ask('pvs', 'pe_start', pv)) + Number(extent) * 128 * 2 ** 20
  const { stdout } = await execute('losetup', ['--find', '--show', '--offset', String(offset), pv])
  const loop = stdout.trim()
  try {
    await execute('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      'cluster_size=2M',
      loop,
      String(capacity)
    ])
    await execute('blockdev', ['--flushbufs', loop])
  } finally {
    await execute('losetup', ['--detach', loop])
  }
}

export type ThinAgents = Awaited<ReturnType<typeof thinAgents>>

/** What an agent's dump tells of one thin disk. */
export type Seen = {
  phase: string
  isFull: boolean
  isPaused: boolean
  threshold: number
  usage: { physical: number; allocation: number }
  history: Array<{ at: number; from: number; to: number; way: string; took: number }>
}

/** A VM on a host with one thin disk. */
export async function thinVm(
  { done, storageDomainId, ends }: ThinAgents,
  host: ClusterHost,
  place: { imageId: string; volumeId: string }
) {
  const diskId = randomUUID() as string
  const spec = diskless(randomUUID(), { disks: [{ diskId, storageDomainId, ...place, slot: 1 }] })
  await done(host, 'vm', 'StartVm', { vmGeneration: '1', spec })
  const { vmId } = spec
  const guest = await WritingGuest.boot(host.world.libvirtd.socket, vmId, diskId)
  ends.push(() => guest.end())
  const seen = async (): Promise<Seen | null> => {
    const { json } = await host.world.client.call('debug', 'Dump')
    const { thin } = JSON.parse(String(json)) as { thin: { disks: Array<Seen & { diskId: string }> } }
    return thin.disks.find(disk => disk.diskId === diskId) ?? null
  }
  const status = async () => {
    const vm: Answer | null = await host.world.vm(vmId)
    return `${vm?.['status']} ${vm?.['pauseReason']}`
  }
  const armed = () => until('armed', async () => (await seen())?.phase === 'armed')
  /** Writes until the disk was extended; all extensions since. */
  const grow = async () => {
    const last = (await seen())?.history.at(-1)
    const news = async () => ((await seen())?.history ?? []).filter(({ at }) => at > (last?.at ?? 0))
    for (let n = 0; n < 400 && (await news()).length === 0; n++) await guest.writeOn(16)
    await until('extended', async () => (await news()).length > 0)
    await armed()
    return news()
  }
  const device = `${host.world.root}/run/loops/${storageDomainId}/${place.volumeId}`
  return { vmId, diskId, host, guest, seen, status, armed, grow, device, ...place }
}

export type ThinVm = Awaited<ReturnType<typeof thinVm>>

export const running = /POWERING_UP|UP/

/** Looks until it is so. */
export async function until(what: string, isSo: () => Promise<boolean>, limit = 60): Promise<void> {
  const began = performance.now()
  while (!(await isSo())) {
    if (performance.now() - began > limit * 1000) throw new Error(`not within ${limit} s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
