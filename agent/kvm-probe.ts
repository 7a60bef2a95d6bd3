import { readIfThere, writeDurably } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { within } from '../common/deadline.js'
import type { Run } from '../common/run.js'
import { seconds } from '../common/units.js'

const emulator = '/usr/bin/qemu-system-x86_64'

/**
 * Whether KVM really runs a guest here: a machine with nothing but firmware, which finds nothing to boot and
 * is told not to wait. /dev/kvm may exist, open and even begin to run, and still be of no use.
 */
export async function probeKvm(run: Run, signal: AbortSignal): Promise<boolean> {
  // The CPU that guests get: it needs more of KVM than the plainest one does.
  const machine = [
    '-accel',
    'kvm',
    '-M',
    'q35',
    '-cpu',
    'host',
    '-smp',
    '2',
    '-m',
    '64',
    '-nodefaults',
    '-display',
    'none'
  ]
  const ending = ['-no-reboot', '-boot', 'reboot-timeout=1', '-monitor', 'none', '-serial', 'none']
  const firmwareLog = ['-chardev', 'stdio,id=log', '-device', 'isa-debugcon,iobase=0x402,chardev=log']
  try {
    const { stdout } = await run(
      emulator,
      [...machine, ...ending, ...firmwareLog],
      within(seconds(5), signal)
    )
    return stdout.includes('No bootable device')
  } catch (error) {
    if (signal.aborted) throw error
    if (error instanceof Fault || (error instanceof Error && error.name === 'TimeoutError')) return false
    throw error
  }
}

/** The same, asked once per boot and version of QEMU. */
export async function knownKvm(
  { file, bootId, qemuVersion, run }: { file: string; bootId: string; qemuVersion: string; run: Run },
  signal: AbortSignal
): Promise<boolean> {
  const key = `2 ${bootId} ${qemuVersion}`
  const known = parsed(await readIfThere(file))
  if (known?.key === key) return known.works
  const works = await probeKvm(run, signal)
  await writeDurably(file, `${JSON.stringify({ key, works })}\n`).catch(() => {})
  return works
}

function parsed(text: string | null): { key: string; works: boolean } | null {
  try {
    return text === null ? null : (JSON.parse(text) as { key: string; works: boolean })
  } catch {
    return null
  }
}
