import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { pino } from 'pino'
import type { TaskRun } from '../../agent/tasks.js'
import type { SourceFile } from '../../storage/import-image.js'
import { type BenchResult, inTurns, median, show, timed } from './bench.js'
import { execute, never, storageDomainId, storageWorld } from './storage-world.js'

// Import of an untrusted image with inspection, sandbox and SHA-256, against the best of qemu-img convert and
// nbdcopy on the same file without any of them; and of a sparse one (8 TiB that hold 1.5 GiB), against a dense
// one that holds as much.

const rounds = 5
const size = Number(process.env['DROVER_BENCH_INGEST_MIB'] ?? 1536)
const log = pino({ level: 'silent' })
const quiet: TaskRun = { signal: never, progress: () => {}, log }

export async function run(): Promise<BenchResult> {
  const { storage, images, root, end } = await storageWorld()
  try {
    const dense = `${root}/import/dense.qcow2`
    const sparse = `${root}/import/sparse.qcow2`
    await fill(`${root}/import/data.raw`)
    await convert(['-f', 'raw', '-O', 'qcow2'], `${root}/import/data.raw`, dense)
    await execute('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      dense,
      '-F',
      'qcow2',
      `${root}/import/big`,
      '8T'
    ])
    await convert(['-f', 'qcow2', '-O', 'qcow2'], `${root}/import/big`, sparse)
    for (const path of [dense, sparse])
      await execute('dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none'])

    const imported = async (path: string) => {
      const target = {
        imageId: randomUUID(),
        volumeId: randomUUID(),
        format: 'qcow2' as const,
        allocation: 'thin' as const
      }
      const source: SourceFile = { kind: 'path', path }
      const request = { source, declared: 'qcow2' as const, storageDomainId, sha256: null }
      const work = () =>
        images.import(
          randomUUID(),
          { ...request, target: { ...target, shared: false, description: '' } },
          quiet
        )
      const taken = await timed(work)
      await storage.askActive(storageDomainId, 'removeImage', { imageId: target.imageId, wipe: false }, never)
      return taken
    }
    const bare = async (tool: (from: string, to: string) => Promise<unknown>) => {
      const to = `${root}/mount/bare`
      const taken = await timed(async () => {
        await tool(dense, to)
        await execute('sync', [to])
      })
      await rm(to, { force: true })
      return taken
    }
    const byConvert = () =>
      bare((from, to) => convert(['-t', 'none', '-f', 'qcow2', '-O', 'qcow2'], from, to))
    const againstConvert = await inTurns(rounds, () => imported(dense), byConvert)
    const convertRatio = show('dense, qemu-img convert', againstConvert)
    const withNbdcopy = await nbdcopy(rounds, () => imported(dense), bare)
    const sparseSides = await inTurns(
      rounds,
      () => imported(sparse),
      () => imported(dense)
    )
    const sparseRatio = show('sparse 8 TiB, dense', sparseSides)

    const best = Math.max(convertRatio, withNbdcopy ?? 0)
    const ratio = 1 / best
    return {
      bench: 'ingest',
      ok: ratio >= 0.98 && sparseRatio <= 2,
      ratio,
      reference:
        withNbdcopy === null
          ? 'qemu-img convert (nbdcopy is not installed)'
          : 'best of qemu-img convert, nbdcopy',
      goal: 'speed >= 0.98 x the best tool; sparse <= 2 x dense',
      sparseRatio,
      mib: size,
      seconds: median(againstConvert.ours) / 1000
    }
  } finally {
    await end()
  }
}

/** Where libnbd is installed. */
async function nbdcopy(
  count: number,
  ours: () => Promise<number>,
  bare: (tool: (from: string, to: string) => Promise<unknown>) => Promise<number>
): Promise<number | null> {
  if (!existsSync('/usr/bin/nbdcopy')) return null
  const words = (from: string) => ['--', '[', 'qemu-nbd', '-r', '-f', 'qcow2', from, ']']
  const sides = await inTurns(count, ours, () => bare((from, to) => execute('nbdcopy', [...words(from), to])))
  return show('dense, nbdcopy', sides)
}

async function fill(path: string): Promise<void> {
  const random = ['-pass', 'pass:drover', '-nosalt', '-pbkdf2', '-in', '/dev/zero']
  await execute('sh', [
    '-c',
    `openssl enc -aes-128-ctr "$@" 2>/dev/null | head -c ${size}M > ${path}`,
    '-',
    ...random
  ])
}

const convert = (options: string[], from: string, to: string) =>
  execute('qemu-img', ['convert', ...options, from, to])
