import { execFileSync } from 'node:child_process'
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { contentText, recogniseContents } from '../../../storage/connections/lun-contents.js'
import { probeDisk } from '../../../storage/connections/lun-probe.js'

const size = 64 * 2 ** 20

/** A disk image as a real program leaves it. */
function disk(directory: string, ...commands: Array<[string, ...string[]]>): string {
  const path = join(directory, 'disk')
  writeFileSync(path, '')
  truncateSync(path, size)
  for (const [program, ...args] of commands)
    execFileSync(program, [...args, path], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LVM_SUPPRESS_FD_WARNINGS: '1' }
    })
  return path
}

const made: Array<[what: string, commands: Array<[string, ...string[]]>, expected: string[]]> = [
  ['nothing', [], []],
  ['ext4', [['mkfs.ext4', '-q', '-F']], ['file system ext']],
  ['FAT', [['mkfs.vfat']], ['file system fat']],
  ['swap', [['mkswap', '-q']], ['swap']],
  [
    'a partition table',
    [['sh', '-c', 'printf "label: dos\\n,1M\\n" | sfdisk -q "$0"']],
    ['MBR partition table']
  ],
  ['a GPT', [['sh', '-c', 'printf "label: gpt\\n,1M\\n" | sfdisk -q "$0"']], ['GPT partition table']],
  [
    'a qcow2 image',
    [['sh', '-c', 'qemu-img create -q -f qcow2 "$0" 8M && truncate -s 64M "$0"']],
    ['disk image (qcow2)']
  ]
]

for (const [what, commands, expected] of made) {
  t.test(`a disk with ${what} is recognised`, async t => {
    const contents = await probeDisk(disk(t.testdir(), ...commands), size)
    t.strictSame(contents.map(contentText), expected)
  })
}

t.test('the second copy of a GPT is enough', async t => {
  const path = disk(t.testdir(), ['sh', '-c', 'printf "label: gpt\\n,1M\\n" | sfdisk -q "$0"'])
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.alloc(2 ** 20), 0, 2 ** 20, 0)
  closeSync(file)
  t.strictSame((await probeDisk(path, size)).map(contentText), ['GPT partition table'])
})

t.test('bytes that nobody knows are unknown data and not nothing', async t => {
  const start = Buffer.alloc(2 ** 20)
  start[70_000] = 1
  t.strictSame(recogniseContents(start, Buffer.alloc(2 ** 20), null).map(contentText), ['unknown data'])
})

t.test('a VG of a storage domain is told from any other', async t => {
  const zeros = Buffer.alloc(4096)
  const id = '11111111-2222-4333-8444-555555555555'
  const text = (vg: string | null, tags: string[]) =>
    recogniseContents(zeros, zeros, { pvId: 'p', vg, tags }).map(contentText)
  t.strictSame(text(id, ['RHAT_storage_domain']), [`storage domain ${id}`])
  t.strictSame(text(id, ['RHAT_storage_domain_UNREADY']), [`storage domain ${id} (half made)`])
  t.strictSame(text(id, []), [`LVM physical volume of ${id}`])
  t.strictSame(text('debian-vg', ['RHAT_storage_domain']), ['LVM physical volume of debian-vg'])
  t.strictSame(text(null, []), ['LVM physical volume'])
})

t.test('a disk that is shorter than what is read is read to its end', async t => {
  const path = join(t.testdir(), 'small')
  writeFileSync(path, Buffer.alloc(8192))
  t.strictSame(await probeDisk(path, 8192), [])
})
