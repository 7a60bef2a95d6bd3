import { realpath } from 'node:fs/promises'
import { GiB, MiB } from '../../common/units.js'
import {
  never,
  smallChunks,
  storageDomainId,
  thinGuest,
  twoHosts,
  until,
  volume
} from '../host/extender/thin-world.js'
import { type BenchResult, median, quantile, timed } from './bench.js'
import { execute } from './storage-world.js'

// From libvirt's event to the next threshold armed, over two hosts: the requester with a real guest, the manager
// with a real volume group, mutual TLS between them. Beside it, in turns, a bare `lvextend` with a
// refresh in the same VG.

const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 60)
const goals = { fast: 15, mailbox: 150 }
// VDSM's own measurements (vdsm PR 124, events and no wait), in milliseconds; other hardware.
const vdsm = { average: 1150, most: 1390 }

export async function run(): Promise<BenchResult> {
  const hosts = await twoHosts({ size: GiB(200) })
  try {
    await hosts.one.ask(storageDomainId, 'takeManager', {}, never)
    const bare = await bareVolume(hosts, () => realpath(guest.leaf.path))
    // The thin volume comes last, so that it grows in one piece: the stand-in for device-mapper wants that.
    const policy = {
      ...smallChunks,
      chunk: { least: MiB(128), most: MiB(128) },
      free: { least: MiB(64), most: MiB(64) }
    }
    const guest = await thinGuest(hosts, policy, GiB(180))
    await guest.extender.round(never)
    await until('armed', () => guest.armed.length > 0)

    const took: Record<string, number[]> = { fast: [], mailbox: [], bare: [] }
    for (let round = 0; round < rounds * 2; round++) {
      const way = round % 2 === 0 ? 'fast' : 'mailbox'
      hosts.network.isCut = way === 'mailbox'
      took['bare']?.push(await bare())
      const [told, armed] = [guest.told.length, guest.armed.length]
      for (let i = 0; i < 200 && guest.told.length === told; i++) await guest.write()
      await until('extended and armed', () => guest.armed.length > armed)
      const last = guest.show()?.history.at(-1)
      const milliseconds = (guest.armed.at(-1)?.at ?? NaN) - (guest.told[told] ?? NaN)
      if (last) (took[last.way] ??= []).push(milliseconds)
    }
    return report(took)
  } finally {
    await hosts.end()
  }
}

function report(took: Record<string, number[]>): BenchResult {
  const of = (name: string) => ({ p50: median(took[name] ?? []), p99: quantile(took[name] ?? [], 0.99) })
  const [fast, mailbox, bare] = [of('fast'), of('mailbox'), of('bare')]
  for (const [name, { p50, p99 }] of Object.entries({ lvextend: bare, fast, mailbox })) {
    console.log(`${name.padEnd(12)} p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms`)
  }
  const isWhole = rounds >= 60
  const ok = isWhole && fast.p99 <= bare.p99 + goals.fast && mailbox.p99 <= bare.p99 + goals.mailbox
  return {
    bench: 'thin-extend',
    ok,
    ratio: fast.p50 / bare.p50,
    reference: 'lvextend and refresh of another volume of the same VG, in turns',
    goal: `fast p99 <= lvextend p99 + ${goals.fast} ms; mailbox p99 <= lvextend p99 + ${goals.mailbox} ms`,
    ...{ rounds, fast, mailbox, lvextend: bare, vdsmPublished: vdsm },
    ways: Object.fromEntries(Object.entries(took).map(([name, values]) => [name, values.length]))
  }
}

/** A volume at the front of the VG, extended by the bare command. */
async function bareVolume(
  { one, device }: Awaited<ReturnType<typeof twoHosts>>,
  loop: () => Promise<string>
) {
  const ids = {
    imageId: '0f1e2d3c-4b5a-4697-8877-665544332200',
    volumeId: 'aaaaaaaa-1111-4222-8333-444444444400'
  }
  await one.ask(
    storageDomainId,
    'createVolume',
    volume({ ...ids, capacity: GiB(100), initialSize: MiB(64) }),
    never
  )
  const path = `${storageDomainId}/${ids.volumeId}`
  const options = ['--driverloaded', 'n', '--devices', device, '--autobackup', 'n']
  const to = (program: string, mebibytes: number, ...more: string[]) =>
    execute(program, [...options, ...more, '--size', `${mebibytes}m`, path])
  return async () => {
    const took = await timed(async () => {
      await to('lvextend', 256)
      // What stands for `lvchange --refresh` where the kernel has no device-mapper.
      await execute('losetup', ['--set-capacity', await loop()])
    })
    // Back again, not counted: the thin volume must find the extents behind it free.
    await to('lvreduce', 128, '--force', '--yes')
    return took
  }
}
