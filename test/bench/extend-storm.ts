import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { bytes, GiB, MiB } from '../../common/units.js'
import { never, storageDomainId, twoHosts, volume } from '../host/extender/thin-world.js'
import { type BenchResult, median, timed } from './bench.js'
import { execute } from './storage-world.js'

// Many volumes ask the manager for room at once. Beside it a serial loop of bare `lvextend` over as many volumes of
// the same VG: once as LVM comes, once with `use_aio=0`, which ours runs under as well.

const volumes = Number(process.env['DROVER_BENCH_VOLUMES'] ?? 24)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
const goal = 3

export async function run(): Promise<BenchResult> {
  const settings = await mkdtemp('/tmp/drover-lvm-')
  await mkdir(`${settings}/profile`)
  await writeFile(`${settings}/lvm.conf`, 'global { use_aio = 0 }\n')
  const withoutAio = { ...process.env, LVM_SYSTEM_DIR: settings }
  const hosts = await twoHosts({ size: GiB(400) })
  try {
    await hosts.one.ask(storageDomainId, 'takeManager', {}, never)
    const ids: string[] = []
    for (let i = 0; i < volumes; i++) {
      const [imageId, volumeId] = [randomUUID(), randomUUID()]
      const made = volume({ imageId, volumeId, capacity: GiB(100), initialSize: MiB(64) })
      await hosts.one.ask(storageDomainId, 'createVolume', made, never)
      ids.push(volumeId)
    }
    let size = 1
    const ours = () => {
      const to = bytes(++size * MiB(128))
      return Promise.all(ids.map(volumeId => hosts.ways.extend({ storageDomainId, volumeId, to }, never)))
    }
    const serial = async (environment: NodeJS.ProcessEnv) => {
      size++
      const options = ['--driverloaded', 'n', '--devices', hosts.device, '--autobackup', 'n']
      for (const id of ids) {
        const target = `${storageDomainId}/${id}`
        await execute('lvextend', [...options, '--size', `${size * 128}m`, target], { env: environment })
      }
    }
    const took = { ours: [] as number[], serial: [] as number[], sameSetting: [] as number[] }
    await ours()
    for (let round = 0; round < rounds; round++) {
      took.serial.push(await timed(() => serial(process.env)))
      took.ours.push(await timed(ours))
      took.sameSetting.push(await timed(() => serial(withoutAio)))
    }
    return report(took)
  } finally {
    await hosts.end()
    await rm(settings, { recursive: true, force: true })
  }
}

function report(took: { ours: number[]; serial: number[]; sameSetting: number[] }): BenchResult {
  const rate = (values: number[]) => (volumes * 1000) / median(values)
  const [ours, serial, sameSetting] = [rate(took.ours), rate(took.serial), rate(took.sameSetting)]
  console.log(
    `extends a second: ours ${ours.toFixed(1)}, serial lvextend ${serial.toFixed(1)}, with use_aio=0 ${sameSetting.toFixed(1)}`
  )
  return {
    bench: 'extend-storm',
    ok: volumes >= 24 && rounds >= 3 && ours >= goal * serial,
    ratio: ours / serial,
    reference: 'a serial loop of lvextend over as many volumes of the same VG',
    goal: `>= ${goal} x the extends a second`,
    ...{
      volumes,
      rounds,
      oursPerSecond: ours,
      serialPerSecond: serial,
      serialWithoutAioPerSecond: sameSetting
    },
    ratioAtSameSetting: ours / sameSetting
  }
}
