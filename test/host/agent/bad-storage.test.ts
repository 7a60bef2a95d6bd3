import { status } from '@grpc/grpc-js'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { agentServices } from '../../../proto/load.js'
import { Refused, type Answer } from './client.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// Rows of table A about storage domains, volumes and images, and others of their kind, against a real agent with
// real workers and qemu-img.

const execute = promisify(execFile)
const MiB = (count: number) => String(count * 2 ** 20)
const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const { client } = world
const shared = join(world.root, 'shared')
const { storageDomainId, disk } = await storageDomain(world)
const at = (name: string) => join(world.root, 'import', name)
await mkdir(at(''), { recursive: true })

const newVolume = (change: object = {}) => ({
  ...{ storageDomainId, imageId: randomUUID(), volumeId: randomUUID(), capacity: MiB(16) },
  ...{ format: 'DISK_FORMAT_QCOW2', ...change }
})
type Made = { imageId: string; volumeId: string }
async function volume(change: object = {}): Promise<Made> {
  const made = newVolume(change)
  await client.task('storage', 'CreateVolume', made)
  return made
}

async function refused(work: Promise<unknown>): Promise<Refused & { ms: number }> {
  const began = performance.now()
  const error = await work.then(
    answer => new Error(`it was not refused: ${JSON.stringify(answer)}`),
    (failure: unknown) => failure
  )
  if (!(error instanceof Refused)) throw error
  t.notMatch(error.message, /\/tmp\/|node:|at .*\.js/, 'no path and no stack')
  return Object.assign(error, { ms: performance.now() - began })
}

/** Within a second; a machine that does other things meanwhile may be late now and then. */
function atOnce(t: Test, times: number[]): void {
  const [middle = 0, last = 0] = [times.toSorted((a, b) => a - b)[times.length >> 1], Math.max(...times)]
  t.ok(middle < 1000 && last < 5000, `${middle} ms, at most ${last} ms`)
}

const everything = async () => {
  const [volumes, findings] = await Promise.all([
    client.call('storage', 'ListVolumes', { storageDomainId, pageSize: 1000 }),
    client.call('storage', 'AuditStorageDomain', { storageDomainId })
  ])
  t.strictSame(findings['findings'], [])
  return (volumes['volumes'] as Answer[]).map(({ volumeId }) => volumeId as string).toSorted()
}

const { INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND, PERMISSION_DENIED } = status
const method = (name: string) => (request: object) =>
  client.mutate('storage', name, { storageDomainId, ...request })
const [create, connect, newDomain] = [
  method('CreateVolume'),
  method('ConnectStorageDomain'),
  method('CreateStorageDomain')
]
const [resize, merge, copy] = [method('ResizeVolume'), method('MergeVolumes'), method('CopyImage')]
const [importing, lease] = [method('ImportImage'), method('CreateLease')]
const nfs = (change: object) => ({ connection: { nfs: { export: 'nas:/vm', ...change } } })
const path = (path: string) => ({ connection: { posix: { path } } })
const place = { posix: { path: join(world.root, 'other') } }
const id = randomUUID()
const image = { imageId: disk.imageId, volumeId: disk.volumeId }
const named = (change: object) => ({ storageDomainId: id, description: 'x', connection: place, ...change })

type Row = [what: string, work: () => Promise<unknown>, code: number, field: string | null]
const rows: Row[] = [
  [
    'A3 undecodable bytes',
    () => newDomain(named({ description: 'a\ufffd' })),
    INVALID_ARGUMENT,
    'description'
  ],
  ['A5 no format', () => create(newVolume({ format: 0 })), INVALID_ARGUMENT, 'format'],
  ['A5 a format of the future', () => create(newVolume({ format: 99 })), INVALID_ARGUMENT, 'format'],
  ['A5 a policy of the future', () => create(newVolume({ allocation: 9 })), INVALID_ARGUMENT, 'allocation'],
  ['A9 no image', () => create(newVolume({ imageId: '' })), INVALID_ARGUMENT, 'image_id'],
  [
    'A9 no storage domain',
    () => create(newVolume({ storageDomainId: '' })),
    INVALID_ARGUMENT,
    'storage_domain_id'
  ],
  ...['../../etc/passwd', 'a/b', '\0', '.', '-rf', `${id}\n`, `${id}/..`, id.toUpperCase()].map(
    (bad): Row => [
      `A11 ${JSON.stringify(bad)}`,
      () => create(newVolume({ volumeId: bad })),
      INVALID_ARGUMENT,
      'volume_id'
    ]
  ),
  ...['@tag', '-foo', 'a b', '..', 'x;id', '$(id)'].map((bad): Row => [
    `A23 ${bad}`,
    () => create(newVolume({ storageDomainId: bad })),
    INVALID_ARGUMENT,
    'storage_domain_id'
  ]),
  ['A13 size 0', () => create(newVolume({ capacity: '0' })), INVALID_ARGUMENT, 'capacity'],
  ['A13 size -1', () => create(newVolume({ capacity: '-1' })), INVALID_ARGUMENT, 'capacity'],
  ['A15 2^53 + 1', () => create(newVolume({ capacity: '9007199254740993' })), INVALID_ARGUMENT, 'capacity'],
  [
    'A15 2^63 - 1',
    () => create(newVolume({ capacity: '9223372036854775807' })),
    INVALID_ARGUMENT,
    'capacity'
  ],
  ['65 TiB', () => create(newVolume({ capacity: String(65 * 2 ** 40) })), INVALID_ARGUMENT, 'capacity'],
  [
    'a volume over itself',
    () => create(newVolume({ volumeId: id, parentId: id })),
    INVALID_ARGUMENT,
    'parent_id'
  ],
  ['a parent that is a path', () => create(newVolume({ parentId: '../x' })), INVALID_ARGUMENT, 'parent_id'],
  ['a parent elsewhere', () => create(newVolume({ parentId: id })), NOT_FOUND, null],
  [
    'A21 a description of two lines',
    () => create(newVolume({ description: 'a\nLEGALITY=LEGAL' })),
    INVALID_ARGUMENT,
    'description'
  ],
  [
    'a description that ends a line',
    () => create(newVolume({ description: 'a\r' })),
    INVALID_ARGUMENT,
    'description'
  ],
  [
    'a storage domain with two lines in its name',
    () => newDomain(named({ description: 'a\nROLE=Master' })),
    INVALID_ARGUMENT,
    'description'
  ],
  [
    'a storage domain without a name',
    () => newDomain(named({ description: '' })),
    INVALID_ARGUMENT,
    'description'
  ],
  [
    'a data center that is no id',
    () => newDomain(named({ dataCenterId: 'x' })),
    INVALID_ARGUMENT,
    'data_center_id'
  ],
  [
    'an I/O timeout of 41 s',
    () => newDomain(named({ ioTimeoutSeconds: 41 })),
    INVALID_ARGUMENT,
    'io_timeout_seconds'
  ],
  ['sectors of 1 KiB', () => newDomain(named({ blockSize: 1024 })), INVALID_ARGUMENT, 'block_size'],
  ...[
    'nas:/vm -o suid',
    'nas:/vm,dev',
    '-o,exec',
    'nas',
    ':/vm',
    'nas:/../etc',
    'nas:/a\nb',
    '$(id):/vm',
    'nas:/$(id)',
    '-x:/vm'
  ].map((bad): Row => [
    `A25 ${JSON.stringify(bad)}`,
    () => connect(nfs({ export: bad })),
    INVALID_ARGUMENT,
    'connection.nfs.export'
  ]),
  [
    'A25 options for a version',
    () => connect(nfs({ version: '4,suid' })),
    INVALID_ARGUMENT,
    'connection.nfs.version'
  ],
  ['NFS that never retries', () => connect(nfs({ retrans: 11 })), INVALID_ARGUMENT, 'connection.nfs.retrans'],
  ['NFS with no patience', () => connect(nfs({ timeo: 9 })), INVALID_ARGUMENT, 'connection.nfs.timeo'],
  ...['etc', '/tmp/../etc', '/tmp//x', '/tmp/x/', '/tmp/a\0b', '/tmp/a\nb', ''].map((bad): Row => [
    `a directory ${JSON.stringify(bad)}`,
    () => connect(path(bad)),
    INVALID_ARGUMENT,
    'connection.posix.path'
  ]),
  ...['/etc', '/', '/tmpx'].map((bad): Row => [
    `a directory ${bad}, which is not ours`,
    () => connect(path(bad)),
    INVALID_ARGUMENT,
    'connection.posix.path'
  ]),
  ['no connection', () => connect({}), INVALID_ARGUMENT, 'connection'],
  ['A37 a smaller size', () => resize({ ...image, capacity: MiB(8) }), INVALID_ARGUMENT, 'capacity'],
  [
    'half a sector more',
    () => resize({ ...image, capacity: String(2 ** 24 + 100) }),
    INVALID_ARGUMENT,
    'capacity'
  ],
  ['more of nothing', () => resize({ ...image, volumeId: id, capacity: MiB(32) }), NOT_FOUND, null],
  [
    'A35 a volume into itself',
    () => merge({ imageId: image.imageId, topVolumeId: id, baseVolumeId: id }),
    INVALID_ARGUMENT,
    'base_volume_id'
  ],
  [
    'A35 strangers',
    () => merge({ imageId: image.imageId, topVolumeId: id, baseVolumeId: randomUUID() }),
    NOT_FOUND,
    null
  ],
  [
    'a copy onto itself',
    () =>
      copy({
        sourceStorageDomainId: storageDomainId,
        sourceImageId: image.imageId,
        sourceVolumeId: image.volumeId,
        ...image,
        format: 'DISK_FORMAT_RAW'
      }),
    INVALID_ARGUMENT,
    'image_id'
  ],
  [
    'a copy as VMDK',
    () =>
      copy({
        sourceStorageDomainId: storageDomainId,
        sourceImageId: image.imageId,
        sourceVolumeId: image.volumeId,
        imageId: id,
        volumeId: id,
        format: 'DISK_FORMAT_VMDK'
      }),
    INVALID_ARGUMENT,
    'format'
  ],
  ['a lease without an id', () => lease({ leaseId: '' }), INVALID_ARGUMENT, 'lease_id'],
  [
    'an import from elsewhere',
    () => importing({ ...newVolume(), source: '/etc/passwd', sourceFormat: 'DISK_FORMAT_RAW' }),
    PERMISSION_DENIED,
    null
  ],
  [
    'an import by a protocol',
    () => importing({ ...newVolume(), source: 'nbd://x:1/y', sourceFormat: 'DISK_FORMAT_RAW' }),
    INVALID_ARGUMENT,
    'source'
  ],
  [
    'an import of json:',
    () => importing({ ...newVolume(), source: 'json:{}', sourceFormat: 'DISK_FORMAT_RAW' }),
    INVALID_ARGUMENT,
    'source'
  ],
  [
    'an upload nobody made',
    () => importing({ ...newVolume(), source: id, sourceFormat: 'DISK_FORMAT_RAW' }),
    NOT_FOUND,
    null
  ],
  [
    'no format of the source',
    () => importing({ ...newVolume(), source: id }),
    INVALID_ARGUMENT,
    'source_format'
  ],
  [
    'a sum of words',
    () => importing({ ...newVolume(), source: id, sourceFormat: 'DISK_FORMAT_RAW', sha256: 'x' }),
    INVALID_ARGUMENT,
    'sha256'
  ],
  [
    'A45 another data center',
    () => method('AttachStorageDomain')({ dataCenterId: randomUUID() }),
    FAILED_PRECONDITION,
    null
  ],
  ['a format of what is attached', () => method('FormatStorageDomain')({}), FAILED_PRECONDITION, null],
  [
    'host id 0',
    () => method('ActivateStorageDomain')({ sanlockHostId: 0 }),
    INVALID_ARGUMENT,
    'sanlock_host_id'
  ],
  [
    'host id 250',
    () => method('ActivateStorageDomain')({ sanlockHostId: 250 }),
    INVALID_ARGUMENT,
    'sanlock_host_id'
  ],
  ['another host id', () => method('ActivateStorageDomain')({ sanlockHostId: 7 }), FAILED_PRECONDITION, null],
  ['a storage domain of nobody', () => create(newVolume({ storageDomainId: randomUUID() })), NOT_FOUND, null]
]

t.test('what is wrong with a storage request is refused at once, by field, and changes nothing', async t => {
  const before = await everything()
  const times: number[] = []
  for (const [what, work, code, field] of rows) {
    const {
      code: got,
      fields,
      ms,
      message
    } = await refused(work()).catch((e: Error) => t.fail(`${what}: ${e.message}`) as never)
    t.equal(got, code, `${what}: ${message}`)
    if (field !== null) t.ok(fields.includes(field), `${what} names ${field}: ${fields.join(' ')}`)
    times.push(ms)
  }
  t.strictSame(await everything(), before)
  atOnce(t, times)
})

const attacksFrom = async () => {
  const { attacks, falseFlags } = await import('../../corpus/images/attacks.js')
  return [...attacks, ...falseFlags].filter(({ image }) => image.size <= 2n ** 40n)
}

t.test('A49-A55 no image of the corpus gets in, and each is refused within a second by its rule', async t => {
  const before = await everything()
  const times: number[] = []
  for (const { name, declared, image } of await attacksFrom()) {
    await image.writeTo(at(name))
    const sourceFormat = `DISK_FORMAT_${declared.toUpperCase()}`
    const { code, ms, message } = await refused(importing({ ...newVolume(), source: at(name), sourceFormat }))
    t.equal(code, INVALID_ARGUMENT, `${name}: ${message}`)
    times.push(ms)
    await rm(at(name))
  }
  t.strictSame(await everything(), before)
  atOnce(t, times)
})

t.test('A51 what is declared as something else is refused', async t => {
  await execute('qemu-img', ['create', '-q', '-f', 'qcow2', at('good.qcow2'), '64k'])
  await writeFile(at('good.raw'), Buffer.alloc(2 ** 20))
  for (const [source, sourceFormat] of [
    ['good.qcow2', 'DISK_FORMAT_RAW'],
    ['good.qcow2', 'DISK_FORMAT_VDI'],
    ['good.raw', 'DISK_FORMAT_QCOW2'],
    ['good.raw', 'DISK_FORMAT_ISO']
  ] as const) {
    const work = importing({ ...newVolume(), source: at(source), sourceFormat })
    t.equal((await refused(work)).code, INVALID_ARGUMENT, `${source} as ${sourceFormat}`)
  }
})

async function uploaded(uploadId: string, size: number, bytes: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = client.upload((error, answer) => (error ? reject(new Refused(error)) : resolve(answer!)))
    call.write({ open: { uploadId, storageDomainId, size: String(size) } })
    for (let at = 0; at < bytes.length; at += 2 ** 17) call.write({ data: bytes.subarray(at, at + 2 ** 17) })
    call.end()
  })
}
const uploads = async () => {
  const scratch = join(shared, storageDomainId, '.drover')
  const names = await readdir(scratch, { recursive: true }).catch(() => [] as string[])
  return names.filter(name => name.includes('upload-'))
}

t.test('uploads that bring too much, too little or no image leave nothing behind', async t => {
  for (const length of [1001, 9]) {
    const work = uploaded(randomUUID(), 1000, Buffer.alloc(length))
    t.equal((await refused(work)).code, INVALID_ARGUMENT)
  }
  t.strictSame(await uploads(), [])
  const source = randomUUID()
  await uploaded(source, 2 ** 20, Buffer.alloc(2 ** 20))
  t.equal((await uploads()).length, 1)
  const wrong = importing({ ...newVolume(), source, sourceFormat: 'DISK_FORMAT_QCOW2' })
  t.equal((await refused(wrong)).code, INVALID_ARGUMENT)
  t.strictSame(await uploads(), [], 'what nobody can import any more is gone at once')
})

t.test('A29 one request a hundred times at once makes one volume', async t => {
  const request = { requestId: randomUUID(), ...newVolume() }
  const tasks = await Promise.all(
    Array.from({ length: 100 }, () => client.call('storage', 'CreateVolume', request))
  )
  t.equal(new Set(tasks.map(({ taskId }) => taskId)).size, 1)
  const other = client.call('storage', 'CreateVolume', { ...request, capacity: MiB(32) })
  t.equal((await refused(other)).code, status.ALREADY_EXISTS)
  const found = await client.call('storage', 'ListVolumes', { storageDomainId, imageId: request.imageId })
  t.equal(found['volumes'].length, 1)
})

t.test('A31 nothing is done without a request id', async t => {
  const { storage } = agentServices
  const own =
    /^(Create|Remove|Connect|Disconnect|Attach|Activate|Deactivate|Detach|Format|Copy|Share|Resize|Merge|Import|Clear|Await)/
  for (const name of Object.keys(storage).filter(name => own.test(name))) {
    // Two are the coordinator's alone: the administrator of the host may not even ask.
    const isCoordinators = ['AwaitLease', 'ClearHostLease'].includes(name)
    const { code, fields } = await refused(client.call('storage', name, { storageDomainId }))
    if (isCoordinators) t.equal(code, PERMISSION_DENIED, name)
    else t.ok(code === INVALID_ARGUMENT && fields.includes('request_id'), `${name}: ${fields.join(' ')}`)
  }
})

const metaOf = ({ imageId, volumeId }: Made) =>
  join(shared, storageDomainId, 'images', imageId, `${volumeId}.meta`)

t.test('A33 a snapshot of a volume that is illegal, internal, damaged or gone is refused', async t => {
  const [illegal, damaged, based] = [await volume(), await volume(), await volume()]
  const over = ({ imageId, volumeId }: Made) => create(newVolume({ imageId, parentId: volumeId }))
  const before = await readFile(metaOf(illegal), 'utf8')
  await writeFile(metaOf(illegal), before.replace('LEGALITY=LEGAL', 'LEGALITY=ILLEGAL'))
  t.equal((await refused(over(illegal))).code, FAILED_PRECONDITION)
  await writeFile(metaOf(illegal), before)
  const whole = await readFile(metaOf(damaged), 'utf8')
  await writeFile(metaOf(damaged), 'CAP=x\nEOF\n')
  t.equal((await refused(over(damaged))).code, status.DATA_LOSS)
  await writeFile(metaOf(damaged), whole)
  t.equal(
    (
      await client.task(
        'storage',
        'CreateVolume',
        newVolume({ imageId: based.imageId, parentId: based.volumeId })
      )
    )['state'],
    'TASK_STATE_SUCCEEDED'
  )
  t.equal((await refused(over(based))).code, FAILED_PRECONDITION, 'it is internal')
  t.equal((await refused(over({ ...based, volumeId: randomUUID() }))).code, NOT_FOUND)
  t.equal(
    (await refused(create(newVolume({ parentId: illegal.volumeId, parentImageId: illegal.imageId })))).code,
    FAILED_PRECONDITION,
    'it is no template'
  )
  t.equal(
    (await refused(create(newVolume({ imageId: based.imageId, parentId: based.volumeId, capacity: MiB(8) }))))
      .code,
    INVALID_ARGUMENT,
    'it would be smaller'
  )
  await everything()
})

t.test('A35 volumes that are not neighbours, or of another image, are not merged', async t => {
  const [base, stranger] = [await volume(), await volume()]
  const middle = await volume({ imageId: base.imageId, parentId: base.volumeId })
  const top = await volume({ imageId: base.imageId, parentId: middle.volumeId })
  const into = (topVolumeId: string, baseVolumeId: string) =>
    merge({ imageId: base.imageId, topVolumeId, baseVolumeId })
  t.equal((await refused(into(top.volumeId, base.volumeId))).code, FAILED_PRECONDITION)
  t.equal((await refused(into(base.volumeId, middle.volumeId))).code, FAILED_PRECONDITION, 'upside down')
  t.equal((await refused(into(top.volumeId, stranger.volumeId))).code, NOT_FOUND)
  const { code } = await refused(
    resize({ imageId: base.imageId, volumeId: base.volumeId, capacity: MiB(32) })
  )
  t.equal(code, FAILED_PRECONDITION, 'an internal volume does not grow')
})

t.test('A41 a chain ends at 65 volumes', async t => {
  const base = await volume()
  let parentId = base.volumeId
  for (let depth = 2; depth <= 65; depth++) {
    parentId = (await volume({ imageId: base.imageId, parentId })).volumeId
  }
  const { code, message } = await refused(create(newVolume({ imageId: base.imageId, parentId })))
  t.equal(code, FAILED_PRECONDITION)
  t.match(message, /65/)
})

t.test('A47 a copy of a storage domain that is connected is not connected beside it', async t => {
  const clone = join(world.root, 'clone')
  await cp(shared, clone, { recursive: true })
  t.equal((await refused(connect({ connection: { posix: { path: clone } } }))).code, FAILED_PRECONDITION)
})

t.test('A61 a disk that a VM writes is given to no other, and is not changed', async t => {
  const [one, other] = [randomUUID(), randomUUID()]
  const start = (vmId: string, more: object = {}) =>
    client.task('vm', 'StartVm', {
      vmGeneration: '1',
      spec: diskless(vmId, { disks: [{ ...disk, ...more }] })
    })
  await start(one)
  t.equal((await refused(start(other))).code, FAILED_PRECONDITION)
  t.equal((await refused(start(other, { readOnly: true }))).code, FAILED_PRECONDITION)
  t.equal(
    (await refused(start(other, { diskId: randomUUID() }))).code,
    FAILED_PRECONDITION,
    'whatever it is called'
  )
  t.equal((await refused(resize({ ...image, capacity: MiB(64) }))).code, FAILED_PRECONDITION)
  t.equal((await refused(method('RemoveImage')({ imageId: image.imageId }))).code, FAILED_PRECONDITION)
  t.equal((await refused(method('DeactivateStorageDomain')({}))).code, FAILED_PRECONDITION)
  await client.task('vm', 'DestroyVm', { vmId: one })
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 0)
})

t.test('the log tells of each attempt once, and of nothing that must not be told', async t => {
  const log = await world.log()
  const requestId = randomUUID()
  await refused(client.call('storage', 'CreateVolume', { requestId, ...newVolume({ capacity: '0' }) }))
  const after = (await world.log()).slice(log.length)
  const records = after.split('\n').filter(line => line.includes('"audit":') && line.includes(requestId))
  t.equal(records.length, 1)
  t.match(JSON.parse(records[0]!), {
    audit: { outcome: 'INVALID_REQUEST', action: 'volume.create', requestId }
  })
})
