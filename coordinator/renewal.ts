import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { agentServices } from '../proto/load.js'
import type { Agents } from './agents.js'
import { certificateOf, currentCertificate, type Certificate } from './store/certificates.js'
import { addEvent } from './store/events.js'
import { enrolledHosts, type Host } from './store/hosts.js'
import type { Store } from './store/store.js'
import type { Enrolment } from './trust/enrolment.js'

export type RenewalOptions = {
  store: Store
  agents: Agents
  enrolment: Enrolment
  /** The trust bundle that goes with each certificate. */
  trust: string
  clock: Clock
  log: Logger
}

const day = 86_400_000
const renewalTime = ({ issued, notAfter }: Certificate) => issued + ((notAfter - issued) * 2) / 3

const warnings = [10 * day, 5 * day, day]

/**
 * Certificates of hosts, renewed over the live channel when two thirds of their life are over: the host makes
 * a new key and asks; the old certificate stays good until the new one is in use.
 */
export class Renewals {
  readonly #options: RenewalOptions
  readonly #warned = new Map<string, number>()

  constructor(options: RenewalOptions) {
    this.#options = options
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, agents, clock, log } = this.#options
    for (const host of enrolledHosts(store.read)) {
      // What the host uses counts, and not what was issued last: that may never have arrived.
      const serial = agents.serials.get(host.id)
      const used = serial === undefined ? null : certificateOf(store.read, serial)
      const certificate = used ?? currentCertificate(store.read, 'HOST', host.id)
      if (!certificate || clock.wall() < renewalTime(certificate)) continue
      if (!agents.isReady(host.id)) {
        this.#warn(host)
        continue
      }
      try {
        await this.#renew(host, signal)
      } catch (error) {
        log.warn({ err: error, host: host.id }, 'the certificate of a host was not renewed')
        this.#warn(host)
      }
    }
  }

  async #renew({ id, name }: Host, signal: AbortSignal): Promise<void> {
    const { store, agents, enrolment, trust, clock } = this.#options
    const { BeginCertificateRenewal, CompleteCertificateRenewal } = agentServices.host
    const { csr } = await agents.call(id, BeginCertificateRenewal, { requestId: clock.newId() }, signal)
    const { serial, chain } = await enrolment.renew(id, Buffer.from(csr))
    const request = { requestId: clock.newId(), certificatePem: chain, trustPem: trust }
    await agents.call(id, CompleteCertificateRenewal, request, signal)
    agents.serials.set(id, serial)
    store.transaction(tx => {
      const text = `host ${name} has a new certificate`
      addEvent(tx, { severity: 'info', kind: 'host.renewed', text, objects: { host: id } }, clock.wall())
    })
  }

  /** Once ten, five and one day before the end. */
  #warn({ id, name }: Host): void {
    const { store, clock } = this.#options
    const current = currentCertificate(store.read, 'HOST', id)
    if (!current) return
    const left = current.notAfter - clock.wall()
    const passed = warnings.filter(limit => left < limit).length
    if (passed <= (this.#warned.get(current.serial) ?? 0)) return
    this.#warned.set(current.serial, passed)
    const text =
      left > 0
        ? `the certificate of host ${name} ends in ${Math.ceil(left / 3_600_000)} h and could not be renewed`
        : `the certificate of host ${name} has expired: run \`drover host token\` and \`drover-agent recover\``
    store.transaction(tx =>
      addEvent(
        tx,
        { severity: 'alert', kind: 'host.certificate_ends', text, objects: { host: id } },
        clock.wall()
      )
    )
  }
}
