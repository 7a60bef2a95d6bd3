import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { setUpStorage } from '../../agent/storage-setup.js'
import { systemClock } from '../../common/clock.js'
import { commandRunner } from '../../common/run.js'
import { seconds } from '../../common/units.js'

export const execute = promisify(execFile)
export const never = new AbortController().signal
export const storageDomainId = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b80'

/** The agent's storage with one active storage domain on the disk that has the most room. */
export async function storageWorld() {
  const root = await mkdtemp(`${process.env['DROVER_BENCH_DIR'] ?? '/var/tmp'}/drover-bench-`)
  await Promise.all(['mount', 'import', 'state', 'run', 'bare'].map(name => mkdir(`${root}/${name}`)))
  const log = pino({ level: 'silent' })
  const run = commandRunner(log)
  const parts = setUpStorage({
    stateDirectory: `${root}/state`,
    runDirectory: `${root}/run`,
    importDirectory: `${root}/import`,
    allowedDirectories: [root],
    logLevel: 'error',
    sanlock: { mode: 'direct', runDirectory: null },
    ...{ run, clock: systemClock, log, onChange: () => {} }
  })
  await parts.storage.restore()
  const rest = {
    description: 'bench',
    dataCenterId: storageDomainId,
    ioTimeout: seconds(10),
    sectorSize: null
  }
  const connection = { kind: 'posix' as const, path: `${root}/mount` }
  await parts.storage.create({ storageDomainId, connection, ...rest }, never)
  await parts.storage.activate(storageDomainId, 1, never)
  const end = async () => {
    await parts.storage.stop()
    await rm(root, { recursive: true, force: true })
  }
  return { ...parts, root, end }
}
