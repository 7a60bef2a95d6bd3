import { pino } from 'pino'
import type { Up } from '../../../libvirt/control-loop.js'
import { Libvirt } from '../../../libvirt/connections.js'
import { createDomain, type Domain } from '../../../libvirt/domain.js'
import type { LibvirtEvent, LibvirtEventKind } from '../../../libvirt/events.js'
import { until } from '../../libvirt/manual-clock.js'
import { PrivateLibvirtd } from './private-libvirtd.js'
import { tinyGuest } from './tiny-guest.js'

type BootOptions = Parameters<typeof tinyGuest>[0] & { paused?: boolean }

export const soon = (limit = 60_000) => AbortSignal.timeout(limit)

/** A real libvirtd, our client of it, and all that it told us. */
export async function libvirtWorld({ uri = 'qemu:///system', conf = '' } = {}) {
  const daemon = await PrivateLibvirtd.start({ conf })
  const events: LibvirtEvent[] = []
  const ups: Up[] = []
  const story: Array<{ event: LibvirtEvent } | { up: Up }> = []
  const libvirt = Libvirt.open({
    log: pino({ level: 'silent' }),
    socketPath: daemon.socket,
    uri,
    onEvent: event => {
      events.push(event)
      story.push({ event })
    },
    onUp: up => {
      ups.push(up)
      story.push({ up })
    }
  })
  await libvirt.whenUp(soon())

  /** The first event of a kind about a guest, now or soon. */
  const event = async <K extends LibvirtEventKind>(
    kind: K,
    { uuid }: { uuid: string },
    fits: (event: Extract<LibvirtEvent, { kind: K }>) => boolean = () => true
  ): Promise<Extract<LibvirtEvent, { kind: K }>> => {
    const find = () =>
      events.find(found => found.kind === kind && found.uuid === uuid && fits(found as never))
    await until(`event ${kind}`, () => find() !== undefined)
    return find() as Extract<LibvirtEvent, { kind: K }>
  }
  const boot = async ({ paused = false, ...options }: BootOptions = {}): Promise<Domain> => {
    const { uuid, xml } = tinyGuest(options)
    return createDomain(libvirt, { uuid, xml, paused }, soon())
  }
  const end = async () => {
    await libvirt.close()
    await daemon[Symbol.asyncDispose]()
  }
  return { daemon, libvirt, events, ups, story, event, boot, [Symbol.asyncDispose]: end }
}
