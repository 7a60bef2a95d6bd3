import type { Agents } from './agents.js'
import { agentServices } from '../proto/load.js'
import type { HostConsole } from './console-relay.js'
import type { SendUpload } from './services/disk.js'

// Streams between a client and a host, in the form in which the relays know them.

/** A console of a VM, on the host that runs it. */
export const consoleOn = (agents: Pick<Agents, 'bidi'>): HostConsole =>
  async function* (hostId, { vmId, kind, force }, typed, signal) {
    const wireKind = kind === 'serial' ? ('CONSOLE_KIND_SERIAL' as const) : ('CONSOLE_KIND_GRAPHICS' as const)
    async function* inputs() {
      yield { input: 'open' as const, open: { vmId, kind: wireKind, force } }
      for await (const data of typed) yield { input: 'data' as const, data }
    }
    for await (const { data } of agents.bidi(hostId, agentServices.vm.OpenConsole, inputs(), signal))
      yield data
  }

/** An upload, to the host that keeps it. */
export const uploadTo =
  (agents: Pick<Agents, 'upload'>): SendUpload =>
  async (hostId, { uploadId, storageDomainId, size }, chunks, signal) => {
    async function* messages() {
      yield { message: 'open' as const, open: { uploadId, storageDomainId, size } }
      for await (const data of chunks) yield { message: 'data' as const, data }
    }
    const received = await agents.upload(hostId, agentServices.storage.UploadImage, messages(), signal)
    return { size: Number(received.size), sha256: received.sha256 }
  }
