import { execFile } from 'node:child_process'
import { access, mkdir, symlink, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { NotAnImageFile, openImageFile } from '../../storage/image-inspector/image-file.js'
import { type ImageFormat, inspectImage, inspectVolume } from '../../storage/image-inspector.js'

const run = promisify(execFile)
const hasQemuImg = await access('/usr/bin/qemu-img').then(
  () => true,
  () => false
)
const skip = hasQemuImg ? false : 'qemu-img is not installed'

const inspectFile = async (path: string, declared: ImageFormat) => {
  await using file = await openImageFile(path)
  return await inspectImage(file, declared)
}

const MiB = 2n ** 20n
const created: Array<[name: string, format: ImageFormat, options: string[]]> = [
  ['qcow2', 'qcow2', ['-f', 'qcow2']],
  ['qcow2 of version 2', 'qcow2', ['-f', 'qcow2', '-o', 'compat=0.10']],
  ['qcow2 with small clusters', 'qcow2', ['-f', 'qcow2', '-o', 'cluster_size=512']],
  ['qcow2 with large clusters', 'qcow2', ['-f', 'qcow2', '-o', 'cluster_size=2M']],
  ['qcow2 with extended L2', 'qcow2', ['-f', 'qcow2', '-o', 'extended_l2=on,cluster_size=128k']],
  ['qcow2 with zstd', 'qcow2', ['-f', 'qcow2', '-o', 'compression_type=zstd']],
  ['qcow2 with lazy refcounts', 'qcow2', ['-f', 'qcow2', '-o', 'lazy_refcounts=on']],
  ['qcow2 preallocated', 'qcow2', ['-f', 'qcow2', '-o', 'preallocation=metadata']],
  ['sparse vmdk', 'vmdk', ['-f', 'vmdk']],
  ['stream-optimized vmdk', 'vmdk', ['-f', 'vmdk', '-o', 'subformat=streamOptimized']],
  ['dynamic vhd', 'vpc', ['-f', 'vpc']],
  ['fixed vhd', 'vpc', ['-f', 'vpc', '-o', 'subformat=fixed']],
  ['vhd of forced size', 'vpc', ['-f', 'vpc', '-o', 'force_size=on']],
  ['dynamic vhdx', 'vhdx', ['-f', 'vhdx']],
  ['fixed vhdx', 'vhdx', ['-f', 'vhdx', '-o', 'subformat=fixed']],
  ['vdi', 'vdi', ['-f', 'vdi']],
  ['static vdi', 'vdi', ['-f', 'vdi', '-o', 'static=on']],
  ['raw', 'raw', ['-f', 'raw']]
]

for (const [name, format, options] of created) {
  t.test(`a ${name} of qemu-img is accepted with the size that qemu-img sees`, { skip }, async t => {
    const path = `${t.testdir()}/image`
    await run('qemu-img', ['create', '-q', ...options, path, '64M'])
    const { stdout } = await run('qemu-img', ['info', '--output=json', '-f', format, path])
    const info = JSON.parse(stdout) as { 'virtual-size': number }
    const found = await inspectFile(path, format)
    t.strictSame(found, { format, virtualSize: BigInt(info['virtual-size']), problems: [] })
  })
}

const converted: Array<[name: string, format: ImageFormat, options: string[]]> = [
  ['compressed qcow2', 'qcow2', ['-c', '-O', 'qcow2']],
  ['stream-optimized vmdk', 'vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized']],
  ['sparse vmdk', 'vmdk', ['-O', 'vmdk']],
  ['vhdx', 'vhdx', ['-O', 'vhdx']],
  ['fixed vhd', 'vpc', ['-O', 'vpc', '-o', 'subformat=fixed']],
  ['vdi', 'vdi', ['-O', 'vdi']]
]

for (const [name, format, options] of converted) {
  t.test(`a ${name} with a partitioned disk in it is accepted`, { skip }, async t => {
    const directory = t.testdir()
    const disk = Buffer.alloc(Number(8n * MiB), 'x')
    disk.write('\x55\xaaEFI PART', 510, 'latin1')
    await writeFile(`${directory}/disk`, disk)
    await run('qemu-img', ['convert', '-f', 'raw', ...options, `${directory}/disk`, `${directory}/image`])
    t.strictSame((await inspectFile(`${directory}/image`, format)).problems, [])
  })
}

t.test('the chain that qemu-img makes is the chain that metadata describes', { skip }, async t => {
  const directory = t.testdir()
  const parent = '3f6b1c52-7a38-4a4f-9a51-0b5c8de0f001'
  const create = ['create', '-q', '-f', 'qcow2', '-o', 'compat=1.1']
  await run('qemu-img', [...create, '-b', parent, '-F', 'raw', '-u', `${directory}/child`, '64M'])
  await using file = await openImageFile(`${directory}/child`)
  const expected = {
    format: 'qcow2' as const,
    capacity: 64n * MiB,
    backing: { path: parent, format: 'raw' as const }
  }
  t.strictSame((await inspectVolume(file, expected)).problems, [])
  const orphan = await inspectVolume(file, { ...expected, backing: null })
  t.strictSame(
    orphan.problems.map(({ rule }) => rule),
    ['qcow2.backing-file', 'qcow2.backing-format']
  )
})

t.test('what qemu-img itself writes over a host file is refused', { skip }, async t => {
  const directory = t.testdir({ secret: 'x'.repeat(65_536) })
  const secret = `${directory}/secret`
  const cases: Array<[rule: string, options: string[]]> = [
    ['qcow2.backing-file', ['-b', secret, '-F', 'raw']],
    ['qcow2.backing-file', ['-u', '-b', 'nbd://127.0.0.1:10999/x', '-F', 'raw']],
    ['qcow2.data-file', ['-o', `data_file=${directory}/outside,data_file_raw=on`]]
  ]
  for (const [i, [rule, options]] of cases.entries()) {
    const path = `${directory}/image${i}`
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path, '64k'])
    const { problems } = await inspectFile(path, 'qcow2')
    t.ok(
      problems.some(problem => problem.rule === rule),
      JSON.stringify(problems)
    )
  }
})

t.test('a link, a pipe, a device and a directory are no images, and opening none of them waits', async t => {
  const directory = t.testdir({ image: 'x' })
  await symlink(`${directory}/image`, `${directory}/link`)
  await mkdir(`${directory}/directory`)
  await run('mkfifo', [`${directory}/pipe`])
  for (const name of ['link', 'directory', 'pipe']) {
    await t.rejects(openImageFile(`${directory}/${name}`), NotAnImageFile, name)
  }
  await t.rejects(openImageFile('/dev/null'), NotAnImageFile)
})

t.test('a sparse file is judged by its size and costs no reading', async t => {
  const path = `${t.testdir()}/image`
  await writeFile(path, '')
  await run('truncate', ['--size', '2T', path])
  await using file = await openImageFile(path)
  t.strictSame((await inspectImage(file, 'raw')).problems, [])
  const { problems } = await inspectImage(file, 'raw', { mostBytes: 2n ** 40n })
  t.strictSame(
    problems.map(({ rule }) => rule),
    ['raw.size']
  )
})
