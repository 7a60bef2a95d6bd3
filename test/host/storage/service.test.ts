import { execFile } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { Fault, type Reason } from '../../../common/fault.js'
import { agentServices } from '../../../proto/load.js'
import { ids, serviceWorld } from './service-world.js'

const execute = promisify(execFile)
const { storageDomain } = ids
const MiB = (n: number) => String(n * 2 ** 20)
const newVolume = (change: object = {}) => ({
  imageId: randomUUID(),
  volumeId: randomUUID(),
  capacity: MiB(4),
  format: 'DISK_FORMAT_QCOW2',
  ...change
})

/** Refused with this reason and these fields named; soon, which on a busy machine is not within a second. */
async function refuses(t: Test, work: Promise<unknown>, reason: Reason, fields: string[], title: string) {
  const began = performance.now()
  const error: unknown = await work.then(
    () => null,
    (error: unknown) => error
  )
  if (!(error instanceof Fault)) return void t.fail(`${title}: ${String(error)}`)
  t.equal(error.reason, reason, `${title}: ${error.message}`)
  t.same(
    error.violations.map(({ field }) => field),
    fields,
    `${title}: fields`
  )
  t.ok(performance.now() - began < 15_000, `${title}: soon`)
}

t.test(
  'a disk through its life: created, snapshotted, copied, shared, cloned, resized, merged, removed',
  async t => {
    const { mutate, call, withStorageDomain } = await serviceWorld(t)
    await withStorageDomain()
    const disk = newVolume()
    await mutate('CreateVolume', disk)
    const snapshot = { ...disk, volumeId: randomUUID(), parentId: disk.volumeId }
    await mutate('CreateVolume', snapshot)
    await mutate('ResizeVolume', { ...snapshot, capacity: MiB(8) })

    const copy = {
      sourceStorageDomainId: storageDomain,
      sourceImageId: disk.imageId,
      sourceVolumeId: snapshot.volumeId
    }
    const template = {
      imageId: randomUUID(),
      volumeId: randomUUID(),
      format: 'DISK_FORMAT_QCOW2',
      shared: true
    }
    await mutate('CopyImage', { ...copy, ...template })
    const clone = newVolume({
      parentId: template.volumeId,
      parentImageId: template.imageId,
      capacity: MiB(8)
    })
    await mutate('CreateVolume', clone)
    await refuses(
      t,
      mutate('RemoveImage', { imageId: template.imageId }),
      'WRONG_STATE',
      [],
      'a template in use'
    )

    await mutate('MergeVolumes', {
      imageId: disk.imageId,
      topVolumeId: snapshot.volumeId,
      baseVolumeId: disk.volumeId
    })
    const { volumes } = await call('ListVolumes', { storageDomainId: storageDomain, imageId: disk.imageId })
    t.equal(volumes?.length, 1)
    t.match(volumes?.[0], {
      volumeId: disk.volumeId,
      role: 'VOLUME_ROLE_LEAF',
      capacity: MiB(8),
      generation: 1
    })

    for (const imageId of [disk.imageId, clone.imageId, template.imageId])
      await mutate('RemoveImage', { imageId })
    t.same((await call('ListVolumes', { storageDomainId: storageDomain })).volumes, [])
    t.same((await call('AuditStorageDomain', { storageDomainId: storageDomain })).findings, [])
  }
)

t.test('a storage domain through its life: it ends as if it had never been', async t => {
  const { mutate, call, root, withStorageDomain } = await serviceWorld(t)
  await withStorageDomain()
  const state = await call('GetStorageDomain', { storageDomainId: storageDomain })
  t.match(state, {
    metadata: { type: 'POSIXFS', version: 5, dataCenterId: ids.dataCenter, ioTimeoutSeconds: 1 }
  })
  await refuses(t, mutate('DetachStorageDomain', {}), 'WRONG_STATE', [], 'detach while active')
  await mutate('DeactivateStorageDomain', {})
  await mutate('DetachStorageDomain', {})
  await mutate('DisconnectStorageDomain', {})
  t.same((await call('ListStorageDomains', {})).storageDomains, [])
  const found = await call('DiscoverStorageDomains', { connection: { posix: { path: `${root}/mount` } } })
  t.match(found.storageDomains, [{ storageDomainId: storageDomain, metadata: { dataCenterId: '' } }])
  await mutate('ConnectStorageDomain', { connection: { posix: { path: `${root}/mount` } } })
  await mutate('FormatStorageDomain', {})
  const { stdout } = await execute('find', [`${root}/mount`, '-mindepth', '1'])
  t.equal(stdout, '')
})

t.test('a file is imported, and an upload is the same bytes', async t => {
  const { mutate, call, root, client, withStorageDomain } = await serviceWorld(t)
  await withStorageDomain()
  const raw = randomBytes(3 * 2 ** 20)
  await writeFile(`${root}/import/a.raw`, raw)
  const sha256 = createHash('sha256').update(raw).digest('hex')
  const target = () => ({ imageId: randomUUID(), volumeId: randomUUID(), format: 'DISK_FORMAT_QCOW2' })
  const file = { source: `${root}/import/a.raw`, sourceFormat: 'DISK_FORMAT_RAW' }
  const task = await mutate('ImportImage', { ...target(), ...file, sha256 })
  t.match(task.result, { sha256, capacity: String(raw.length) })
  await refuses(
    t,
    mutate('ImportImage', { ...target(), ...file, sha256: '0'.repeat(64) }),
    'IMAGE_REFUSED',
    [],
    'another checksum'
  )

  await writeFile(`${root}/import/odd.raw`, raw.subarray(0, 5000))
  for (const format of ['DISK_FORMAT_QCOW2', 'DISK_FORMAT_RAW']) {
    const odd = { source: `${root}/import/odd.raw`, sourceFormat: 'DISK_FORMAT_RAW' }
    const { result } = await mutate('ImportImage', { ...target(), ...odd, format })
    t.equal(result?.['capacity'], '8192', 'a guest sees whole pages')
  }

  const upload = { uploadId: randomUUID(), storageDomainId: storageDomain, size: String(raw.length) }
  const parts = [
    { open: upload },
    ...Array.from({ length: 24 }, (_, i) => ({ data: raw.subarray(i << 17, (i + 1) << 17) }))
  ]
  const answer = await client.upload(
    agentServices.storage.UploadImage,
    toAsync(parts),
    new AbortController().signal
  )
  t.match(answer, { sha256, size: String(raw.length) })
  const imported = { ...target(), format: 'DISK_FORMAT_RAW' }
  await mutate('ImportImage', { ...imported, source: upload.uploadId, sourceFormat: 'DISK_FORMAT_RAW' })
  const path = `${root}/mount/${storageDomain}/images/${imported.imageId}/${imported.volumeId}`
  t.ok((await readFile(path)).equals(raw), 'the volume has the bytes that were sent')
  t.same((await call('AuditStorageDomain', { storageDomainId: storageDomain })).findings, [])
  t.equal((await call('ListVolumes', { storageDomainId: storageDomain })).volumes?.length, 4)
})

async function* toAsync<T>(items: T[]) {
  yield* items
}

t.test('the same request a hundred times at once has one effect', async t => {
  const { call, withStorageDomain, parts } = await serviceWorld(t)
  await withStorageDomain()
  const request = { ...newVolume(), storageDomainId: storageDomain, requestId: randomUUID() }
  const answers = await Promise.all(Array.from({ length: 60 }, () => call('CreateVolume', request)))
  t.equal(new Set(answers.map(answer => JSON.stringify([answer.taskId, answer.result]))).size <= 2, true)
  const never = new AbortController().signal
  t.equal((await parts.storage.ask(storageDomain, 'listVolumes', { imageId: null }, never)).length, 1)
  const other = call('CreateVolume', { ...request, capacity: MiB(8) })
  await refuses(t, other, 'REQUEST_ID_REUSED', [], 'the same id with other contents')
})

t.test('bad input is refused by the name of its field, and nothing changes', async t => {
  const { call, mutate, root, withStorageDomain } = await serviceWorld(t)
  await withStorageDomain()
  const disk = newVolume()
  await mutate('CreateVolume', disk)
  const create = (change: object) => mutate('CreateVolume', newVolume(change))
  const cases: Array<[title: string, work: () => Promise<unknown>, reason: Reason, fields: string[]]> = [
    [
      'no request id',
      () => call('CreateVolume', { ...newVolume(), storageDomainId: storageDomain }),
      'INVALID_REQUEST',
      ['request_id']
    ],
    ['an empty id', () => create({ imageId: '' }), 'INVALID_REQUEST', ['image_id']],
    ['a path as id', () => create({ imageId: '../../etc/passwd' }), 'INVALID_REQUEST', ['image_id']],
    [
      'an id in capitals',
      () => create({ volumeId: randomUUID().toUpperCase() }),
      'INVALID_REQUEST',
      ['volume_id']
    ],
    ['size 0', () => create({ capacity: '0' }), 'INVALID_REQUEST', ['capacity']],
    ['a size beyond 2^53', () => create({ capacity: '9007199254740993' }), 'INVALID_REQUEST', ['capacity']],
    ['half a sector', () => create({ capacity: String(2 ** 20 + 1) }), 'INVALID_REQUEST', ['capacity']],
    ['no format', () => create({ format: 0 }), 'INVALID_REQUEST', ['format']],
    [
      'a raw child',
      () => create({ parentId: disk.volumeId, parentImageId: disk.imageId, format: 'DISK_FORMAT_RAW' }),
      'INVALID_REQUEST',
      ['format']
    ],
    [
      'a description of two lines',
      () => create({ description: 'a\nSIZE=1' }),
      'INVALID_REQUEST',
      ['description']
    ],
    [
      'a description of 211 bytes',
      () => create({ description: 'ä'.repeat(106) }),
      'INVALID_REQUEST',
      ['description']
    ],
    ['a parent that is not there', () => create({ parentId: randomUUID() }), 'VOLUME_NOT_FOUND', []],
    [
      'a smaller size',
      () => mutate('ResizeVolume', { ...disk, capacity: MiB(1) }),
      'INVALID_REQUEST',
      ['capacity']
    ],
    [
      'a merge with itself',
      () =>
        mutate('MergeVolumes', {
          imageId: disk.imageId,
          topVolumeId: disk.volumeId,
          baseVolumeId: disk.volumeId
        }),
      'INVALID_REQUEST',
      ['base_volume_id']
    ],
    [
      'a merge of strangers',
      () =>
        mutate('MergeVolumes', {
          imageId: disk.imageId,
          topVolumeId: randomUUID(),
          baseVolumeId: randomUUID()
        }),
      'VOLUME_NOT_FOUND',
      []
    ],
    [
      'a storage domain that is not here',
      () => mutate('CreateVolume', { ...newVolume(), storageDomainId: randomUUID() }),
      'NOT_FOUND',
      []
    ],
    [
      'another data center',
      () => mutate('AttachStorageDomain', { dataCenterId: randomUUID() }),
      'WRONG_STATE',
      []
    ],
    [
      'a forbidden directory',
      () =>
        mutate('ConnectStorageDomain', {
          storageDomainId: randomUUID(),
          connection: { posix: { path: '/etc' } }
        }),
      'INVALID_REQUEST',
      ['connection.posix.path']
    ],
    [
      'a path with dots',
      () => mutate('ConnectStorageDomain', { connection: { local: { path: `${root}/../etc` } } }),
      'INVALID_REQUEST',
      ['connection.local.path']
    ],
    [
      'options in an export',
      () => mutate('ConnectStorageDomain', { connection: { nfs: { export: 'nas:/vm,suid -o dev' } } }),
      'INVALID_REQUEST',
      ['connection.nfs.export']
    ],
    [
      'no connection',
      () => mutate('ConnectStorageDomain', {}),
      'INVALID_REQUEST',
      ['connection', 'connection.kind']
    ],
    [
      'host id 250',
      () => mutate('ActivateStorageDomain', { sanlockHostId: 250 }),
      'INVALID_REQUEST',
      ['sanlock_host_id']
    ],
    [
      'a file elsewhere',
      () => mutate('ImportImage', { ...newVolume(), source: '/etc/passwd', sourceFormat: 'DISK_FORMAT_RAW' }),
      'PERMISSION_DENIED',
      []
    ],
    [
      'a page of another list',
      () => call('ListVolumes', { storageDomainId: storageDomain, pageToken: 'x y' }),
      'INVALID_REQUEST',
      ['page_token']
    ]
  ]
  for (const [title, work, reason, fields] of cases) await refuses(t, work(), reason, fields, title)
  t.equal((await call('ListVolumes', { storageDomainId: storageDomain })).volumes?.length, 1)
  t.same((await call('AuditStorageDomain', { storageDomainId: storageDomain })).findings, [])
})

t.test(
  'an image that would lead elsewhere is refused by the name of the rule, and leaves nothing',
  async t => {
    const { call, mutate, root, withStorageDomain } = await serviceWorld(t)
    await withStorageDomain()
    const at = (name: string) => `${root}/import/${name}`
    await writeFile(at('secret'), 'TOPSECRET'.repeat(1000))
    await execute('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      at('secret'),
      '-F',
      'raw',
      at('backing.qcow2'),
      '64k'
    ])
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', at('good.qcow2'), '64k'])
    await execute('ln', ['-s', '/etc/passwd', at('link')])
    await execute('mkfifo', [at('pipe')])
    const cases = [
      ['backing.qcow2', 'DISK_FORMAT_QCOW2', 'IMAGE_REFUSED'],
      ['good.qcow2', 'DISK_FORMAT_RAW', 'IMAGE_REFUSED'],
      ['secret', 'DISK_FORMAT_QCOW2', 'IMAGE_REFUSED'],
      ['link', 'DISK_FORMAT_RAW', 'PERMISSION_DENIED'],
      ['pipe', 'DISK_FORMAT_RAW', 'IMAGE_REFUSED']
    ] as const
    for (const [name, sourceFormat, reason] of cases) {
      await refuses(
        t,
        mutate('ImportImage', { ...newVolume(), source: at(name), sourceFormat }),
        reason,
        [],
        name
      )
    }
    const inspected = await call('InspectImage', {
      source: at('backing.qcow2'),
      storageDomainId: storageDomain
    })
    t.match(inspected, { format: 'DISK_FORMAT_QCOW2', problems: [{ rule: /backing/ }] })
    t.same((await call('ListVolumes', { storageDomainId: storageDomain })).volumes, [])
    t.same((await call('AuditStorageDomain', { storageDomainId: storageDomain })).findings, [])
  }
)
