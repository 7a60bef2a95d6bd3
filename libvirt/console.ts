import * as c from './constants.js'
import type { Domain } from './domain.js'
import { procedures as p } from './procedures.js'
import type { LibvirtStream } from './stream.js'

/** A serial console, both ways. `force` takes it over from whoever has it. Null: the first one. */
export async function openConsole(
  domain: Domain,
  { device = null, force = false }: { device?: string | null; force?: boolean },
  signal: AbortSignal
): Promise<LibvirtStream> {
  const args = { dom: domain.ref, devName: device, flags: force ? c.domainConsoleFlags.FORCE : 0 }
  return (await domain.libvirt.stream(p.domainOpenConsole, args, signal)).stream
}

/** A channel of the guest by its target name. */
export async function openChannel(
  domain: Domain,
  { name, force = false }: { name: string | null; force?: boolean },
  signal: AbortSignal
): Promise<LibvirtStream> {
  const args = { dom: domain.ref, name, flags: force ? c.domainChannelFlags.FORCE : 0 }
  return (await domain.libvirt.stream(p.domainOpenChannel, args, signal)).stream
}

/** A picture of a screen, as QEMU makes it: `image/png` or PPM. Read the stream to its end. */
export async function screenshot(
  domain: Domain,
  screen: number,
  signal: AbortSignal
): Promise<{ mime: string; image: LibvirtStream }> {
  const args = { dom: domain.ref, screen, flags: 0 }
  const { stream, result } = await domain.libvirt.stream(p.domainScreenshot, args, signal)
  return { mime: result.mime ?? 'application/octet-stream', image: stream }
}

/** Presses keys together, by Linux key codes, and lets go after a moment. */
export async function sendKeys(
  domain: Domain,
  keycodes: number[],
  signal: AbortSignal,
  { holdMs = 0 } = {}
): Promise<void> {
  const args = { dom: domain.ref, codeset: c.keycodeSet.LINUX, holdtime: holdMs, keycodes, flags: 0 }
  await domain.libvirt.call(p.domainSendKey, args, signal)
}
