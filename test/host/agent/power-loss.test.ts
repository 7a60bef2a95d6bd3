import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { storageDomain } from './storage.js'
import { Unsynced } from './unsynced.js'
import { AgentWorld, diskless } from './world.js'

// An answer is a promise that a power cut cannot break: when it comes, nothing that it speaks of is in the cache
// alone. strace tells every write and every fsync of the agent, its workers and qemu-img.

t.setTimeout(280_000)

const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const { client } = world
const shared = join(world.root, 'shared')
const { storageDomainId, disk } = await storageDomain(world)
await mkdir(join(world.root, 'import'), { recursive: true })

async function processesOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const children = text.trim().split(' ').filter(Boolean).map(Number)
  return [pid, ...(await Promise.all(children.map(processesOf))).flat()]
}

/** Everything that the agent's processes do to files, from now on. */
async function traced() {
  const pids = await processesOf(world.agentPid)
  const calls =
    'openat,write,writev,pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2'
  const names = 'mkdir,mkdirat,symlink,symlinkat,link,linkat,mknod,unlink,unlinkat,rmdir,copy_file_range'
  const attach = pids.flatMap(pid => ['-p', String(pid)])
  const file = join(world.root, 'strace')
  const strace = spawn('strace', [
    '-f',
    '-y',
    '-qq',
    '-s',
    '0',
    '-e',
    `trace=${calls},${names}`,
    '-o',
    file,
    ...attach
  ])
  // It is there when it has written down what a call of ours caused.
  const seen = async () => (await readFile(file, 'utf8').catch(() => '')).split('\n')
  while ((await seen()).length < 5) {
    await client.mutate('debug', 'SetLogLevel', { level: 'debug' })
    await setTimeout(100)
  }
  let done = 0
  const unsynced = new Unsynced(isGarbage)
  return {
    /** What a power cut would take now. */
    look: async () => {
      const lines = (await seen()).slice(0, -1)
      for (const line of lines.slice(done)) unsynced.read(line)
      done = lines.length
      return [...unsynced.below(join(shared, storageDomainId)), ...unsynced.below(join(world.root, 'state'))]
    },
    end: async () => {
      const ended = once(strace, 'exit')
      strace.kill('SIGINT')
      await ended
    },
    lines: () => done
  }
}

/** A volume exists if and only if its .meta does: the sweep takes whatever else comes back. */
const isGarbage = (path: string) =>
  path.includes('/_remove_me_') || (path.includes('/images/') && !path.endsWith('.meta'))

const MiB = (count: number) => String(count * 2 ** 20)
const place = () => ({ imageId: randomUUID() as string, volumeId: randomUUID() as string })

t.test('when an answer comes, what it speaks of is on disk', async t => {
  const trace = await traced()
  t.teardown(() => trace.end())
  const [image, copy, raw] = [place(), place(), place()]
  const snapshot = randomUUID()
  const own = { storageDomainId, format: 'DISK_FORMAT_QCOW2', capacity: MiB(16) }
  const spec = diskless(randomUUID(), { disks: [disk] })
  const steps: Array<[what: string, service: 'storage' | 'vm', method: string, request: object]> = [
    ['a volume is made', 'storage', 'CreateVolume', { ...own, ...image }],
    [
      'a raw volume is preallocated',
      'storage',
      'CreateVolume',
      {
        ...own,
        ...raw,
        format: 'DISK_FORMAT_RAW',
        allocation: 'ALLOCATION_POLICY_PREALLOCATED',
        capacity: MiB(1)
      }
    ],
    [
      'a snapshot is taken',
      'storage',
      'CreateVolume',
      { ...own, imageId: image.imageId, volumeId: snapshot, parentId: image.volumeId }
    ],
    [
      'a disk grows',
      'storage',
      'ResizeVolume',
      { storageDomainId, imageId: image.imageId, volumeId: snapshot, capacity: MiB(32) }
    ],
    [
      'a disk is copied',
      'storage',
      'CopyImage',
      {
        ...own,
        ...copy,
        sourceStorageDomainId: storageDomainId,
        sourceImageId: image.imageId,
        sourceVolumeId: snapshot
      }
    ],
    ['a volume becomes a template', 'storage', 'ShareVolume', { storageDomainId, ...copy }],
    [
      'a snapshot is merged',
      'storage',
      'MergeVolumes',
      { storageDomainId, imageId: image.imageId, topVolumeId: snapshot, baseVolumeId: image.volumeId }
    ],
    ['a lease is made', 'storage', 'CreateLease', { storageDomainId, leaseId: spec.vmId }],
    ['a VM starts', 'vm', 'StartVm', { vmGeneration: '1', spec }],
    ['a VM is destroyed', 'vm', 'DestroyVm', { vmId: spec.vmId }],
    ['a lease is removed', 'storage', 'RemoveLease', { storageDomainId, leaseId: spec.vmId }],
    ['an image is removed', 'storage', 'RemoveImage', { storageDomainId, imageId: image.imageId }],
    ['a storage domain is left', 'storage', 'DeactivateStorageDomain', { storageDomainId }]
  ]
  for (const [what, service, method, request] of steps) {
    const task = await client.task(service, method, request)
    t.equal(task['state'], 'TASK_STATE_SUCCEEDED', what)
    t.strictSame(await trace.look(), [], `${what}: nothing is in the cache alone`)
  }
  t.ok(trace.lines() > 200, `${trace.lines()} system calls`)
  t.ok((await readdir(shared)).length > 0)
})

t.test('what strace tells is understood', async t => {
  const unsynced = new Unsynced(path => path === '/s/garbage')
  const tell = (...lines: string[]) => {
    for (const each of lines) unsynced.read(`7 ${each}`)
    return unsynced.below('/s')
  }
  t.strictSame(
    tell('openat(AT_FDCWD</x>, "/s/a.new", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0600) = 5</s/a.new>'),
    ['contents of /s/a.new', 'entry /s/a.new']
  )
  t.strictSame(tell('write(5</s/a.new>, ""..., 3) = 3', 'fsync(5</s/a.new>) = 0'), ['entry /s/a.new'])
  t.strictSame(tell('rename("/s/a.new", "/s/a") = 0'), ['entry /s/a'])
  t.strictSame(tell('fsync(6</s>) = 0'), [])
  t.strictSame(tell('pwrite64(5</s/a>, ""..., 512, 0 <unfinished ...>', '<... pwrite64 resumed>) = 512'), [
    'contents of /s/a'
  ])
  t.strictSame(tell('fdatasync(5</s/a>) = 0', 'unlink("/s/b") = -1 ENOENT (No such file)'), [])
  t.strictSame(
    tell('openat(AT_FDCWD</x>, "/s/a", O_RDWR|O_DSYNC) = 5</s/a>', 'pwrite64(5</s/a>, ""..., 512, 0) = 512'),
    []
  )
  t.strictSame(tell('unlink("/s/garbage") = 0'), [])
  t.strictSame(tell('mkdir("/s/d", 0755) = 0', 'unlink("/s/a") = 0'), ['entry /s/a'])
})
