import type { Run } from '../common/run.js'
import type { Certificates } from '../common/tls.js'
import { newKey, throwIfForeign, type CertificateStore } from './certificates.js'
import type { AgentConfig } from './config.js'
import { runFenceAgent, type FenceRequest } from './fence.js'
import { throwIfStaleWelcome } from './gate.js'
import type { Host } from './host.js'
import type { IdentityFile } from './identity.js'
import type { HostVerbs, Renewal, Welcome } from './services/host.js'

type Parts = {
  config: AgentConfig
  host: Host
  identity: IdentityFile
  certificates: CertificateStore
  run: Run
  refresh(signal: AbortSignal): Promise<void>
  /** New connections use these from now on. */
  useCertificates(certificates: Certificates): Promise<void>
  onChange(): void
}

/** What the coordinator asks of the host as a whole. */
export function hostVerbs(parts: Parts): HostVerbs {
  const { config, host, identity, certificates, run } = parts
  return {
    host,
    refresh: parts.refresh,
    welcome: async (welcome: Welcome) => {
      throwIfStaleWelcome(welcome.hostGeneration, identity.rule())
      await identity.change(welcome)
      parts.onChange()
    },
    deny: async (deniedSerials, deniedHostIds) => identity.change({ deniedSerials, deniedHostIds }),
    beginRenewal: async () => {
      const { key, csr } = await newKey(identity.enrolled().hostId)
      await certificates.keepNext(key)
      return csr
    },
    completeRenewal: async ({ certificate, trust }: Renewal) => {
      const key = await certificates.nextKey()
      throwIfForeign(certificate, key)
      await certificates.save({ key, certificate, trust })
      await parts.useCertificates({ key, certificate, trust })
    },
    fence: (request: FenceRequest, signal) => {
      const directory = config.fence_agents_directory
      return runFenceAgent(run, { directory, known: host.capabilities?.fenceAgents ?? [] }, request, signal)
    }
  }
}
