import { Fault } from '../../common/fault.js'
import type { Run } from '../../common/run.js'

export type RebootWorld = {
  run: Run
  bootId(): Promise<string>
  /** Names of the VMs that run here. */
  running(): string[]
}

/** By systemd, moments later: the answer to whoever asked goes out before. */
export async function rebootHost(
  { run, bootId, running }: RebootWorld,
  wantedBootId: string,
  signal: AbortSignal
): Promise<void> {
  if ((await bootId()) !== wantedBootId) return
  const vms = running()
  if (vms.length > 0) throw new Fault('WRONG_STATE', `VMs run on this host: ${vms.join(', ')}`)
  const unit = ['--quiet', '--collect', '--on-active=2', '--unit=drover-reboot']
  const { code, stderr } = await run('systemd-run', [...unit, 'systemctl', 'reboot'], signal, {
    okCodes: [0, 1]
  })
  if (code === 0 || stderr.includes('already exists') || stderr.includes('already loaded')) return
  throw new Fault('COMMAND_FAILED', `the reboot could not be ordered: ${stderr.trim().slice(0, 500)}`)
}
