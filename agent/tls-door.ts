import { stat } from 'node:fs/promises'
import { parseHostPort } from '../common/address-rules.js'
import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import type { RpcServer } from '../common/server.js'
import type { Certificates } from '../common/tls.js'
import { seconds } from '../common/units.js'
import { installMigrationCertificates, type CertificateStore } from './certificates.js'
import type { AgentConfig } from './config.js'
import type { IdentityFile } from './identity.js'

type Parts = {
  server: RpcServer
  config: AgentConfig
  certificates: CertificateStore
  identity: IdentityFile
  clock: Clock
  log: Logger
}

/**
 * The door for the coordinator and the other agents. It opens as soon as the host is enrolled, and takes over
 * what `drover-agent enrol` and `recover` leave on disk while the agent runs.
 */
export class TlsDoor {
  readonly #parts: Parts
  #port: number | null = null
  #current: Certificates | null = null
  #seen = 0
  #cancel = () => {}

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get port(): number | null {
    return this.#port
  }

  /** What this agent shows to others, as a server and as a client. */
  get certificates(): Certificates | null {
    return this.#current
  }

  async open(): Promise<void> {
    await this.#look()
    if (this.#current === null)
      this.#parts.log.warn('this host is not enrolled: only the local socket is open')
    this.#lookLater()
  }

  close(): void {
    this.#cancel()
  }

  /** New connections see these; those that exist go on. */
  async use(fresh: Certificates): Promise<void> {
    const { server, config, certificates } = this.#parts
    this.#current = fresh
    this.#seen = await changedAt(certificates.path)
    if (config.migration_tls) await installMigrationCertificates(config.migration_tls_directory, fresh)
    if (this.#port !== null) return server.reload(fresh)
    const { host, port } = parseHostPort(config.listen) ?? { host: '0.0.0.0', port: 7444 }
    this.#port = await server.listenTls({ host, port, certificates: fresh, allowAnonymous: false })
  }

  #lookLater(): void {
    this.#cancel = this.#parts.clock.after(seconds(2), () => {
      void this.#look()
        .catch((error: unknown) => this.#parts.log.error({ err: error }, 'certificates not read'))
        .then(() => this.#lookLater())
    })
  }

  async #look(): Promise<void> {
    const { certificates, identity, log } = this.#parts
    const changed = await changedAt(certificates.path)
    if (changed === 0 || changed === this.#seen) return
    const loaded = await certificates.load()
    if (loaded === null) return
    // Somebody else has written it: then the identity is another too.
    if (this.#seen !== 0 || this.#current === null) await identity.reload()
    await this.use(loaded)
    log.info({ host: identity.now.hostId, port: this.#port }, 'certificates in use')
  }
}

const changedAt = (path: string) =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0
  )
