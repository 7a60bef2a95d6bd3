import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader'
import type { DebugServiceDefinition as AgentDebug } from './generated/types/drover/agent/v1/DebugService.js'
import type { HostServiceDefinition as AgentHost } from './generated/types/drover/agent/v1/HostService.js'
import type { PeerServiceDefinition as AgentPeer } from './generated/types/drover/agent/v1/PeerService.js'
import type { SanServiceDefinition as AgentSan } from './generated/types/drover/agent/v1/SanService.js'
import type { StorageServiceDefinition as AgentStorage } from './generated/types/drover/agent/v1/StorageService.js'
import type { TaskServiceDefinition as AgentTask } from './generated/types/drover/agent/v1/TaskService.js'
import type { ThinServiceDefinition as AgentThin } from './generated/types/drover/agent/v1/ThinService.js'
import type { VmServiceDefinition as AgentVm } from './generated/types/drover/agent/v1/VmService.js'
import type { WatchServiceDefinition as AgentWatch } from './generated/types/drover/agent/v1/WatchService.js'
import type { QosProfileServiceDefinition as QosProfile } from './generated/types/drover/v1/QosProfileService.js'
import type { AffinityGroupServiceDefinition as AffinityGroup } from './generated/types/drover/v1/AffinityGroupService.js'
import type { ClusterServiceDefinition as Cluster } from './generated/types/drover/v1/ClusterService.js'
import type { CoordinatorServiceDefinition as Coordinator } from './generated/types/drover/v1/CoordinatorService.js'
import type { DiskServiceDefinition as Disk } from './generated/types/drover/v1/DiskService.js'
import type { EnrolmentServiceDefinition as Enrolment } from './generated/types/drover/v1/EnrolmentService.js'
import type { EventServiceDefinition as Event } from './generated/types/drover/v1/EventService.js'
import type { HostServiceDefinition as Host } from './generated/types/drover/v1/HostService.js'
import type { JobServiceDefinition as Job } from './generated/types/drover/v1/JobService.js'
import type { PlacementPolicyServiceDefinition as PlacementPolicy } from './generated/types/drover/v1/PlacementPolicyService.js'
import type { QuotaServiceDefinition as Quota } from './generated/types/drover/v1/QuotaService.js'
import type { SanServiceDefinition as San } from './generated/types/drover/v1/SanService.js'
import type { SnapshotServiceDefinition as Snapshot } from './generated/types/drover/v1/SnapshotService.js'
import type { StorageDomainServiceDefinition as StorageDomain } from './generated/types/drover/v1/StorageDomainService.js'
import type { TemplateServiceDefinition as Template } from './generated/types/drover/v1/TemplateService.js'
import type { VmServiceDefinition as Vm } from './generated/types/drover/v1/VmService.js'
import type { WatchServiceDefinition as Watch } from './generated/types/drover/v1/WatchService.js'

// The same path in the source tree and in dist/, where the build copies every .proto file.
const folder = dirname(fileURLToPath(import.meta.url))

const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.proto'))
  .toSorted()

// The one set of options. longs as text: a number would round them; oneofs: the discriminator is set.
const definitions = loadSync(files, {
  keepCase: false,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
  includeDirs: [folder]
})

/** The definition of a service by its full name, for example "drover.v1.VmService". */
export function service<T extends object = ServiceDefinition>(name: string): T {
  const found = definitions[name]
  if (found === undefined || 'format' in found) throw new Error(`proto/ has no service ${name}`)
  return found as unknown as T
}

/** All .proto files compiled, with comments and imports: for reflection, policies and reference pages. */
export const descriptorSet: Uint8Array = readFileSync(join(folder, 'generated/descriptors.binpb'))

/** What a host's agent offers. */
export const agentServices = {
  debug: service<AgentDebug>('drover.agent.v1.DebugService'),
  host: service<AgentHost>('drover.agent.v1.HostService'),
  peer: service<AgentPeer>('drover.agent.v1.PeerService'),
  san: service<AgentSan>('drover.agent.v1.SanService'),
  storage: service<AgentStorage>('drover.agent.v1.StorageService'),
  task: service<AgentTask>('drover.agent.v1.TaskService'),
  thin: service<AgentThin>('drover.agent.v1.ThinService'),
  vm: service<AgentVm>('drover.agent.v1.VmService'),
  watch: service<AgentWatch>('drover.agent.v1.WatchService')
}

/** What the coordinator offers. */
export const coordinatorServices = {
  affinityGroup: service<AffinityGroup>('drover.v1.AffinityGroupService'),
  qosProfile: service<QosProfile>('drover.v1.QosProfileService'),
  cluster: service<Cluster>('drover.v1.ClusterService'),
  coordinator: service<Coordinator>('drover.v1.CoordinatorService'),
  disk: service<Disk>('drover.v1.DiskService'),
  enrolment: service<Enrolment>('drover.v1.EnrolmentService'),
  event: service<Event>('drover.v1.EventService'),
  host: service<Host>('drover.v1.HostService'),
  job: service<Job>('drover.v1.JobService'),
  placementPolicy: service<PlacementPolicy>('drover.v1.PlacementPolicyService'),
  quota: service<Quota>('drover.v1.QuotaService'),
  san: service<San>('drover.v1.SanService'),
  snapshot: service<Snapshot>('drover.v1.SnapshotService'),
  storageDomain: service<StorageDomain>('drover.v1.StorageDomainService'),
  template: service<Template>('drover.v1.TemplateService'),
  vm: service<Vm>('drover.v1.VmService'),
  watch: service<Watch>('drover.v1.WatchService')
}

/** What every daemon offers beside its own. */
export const standardServices = {
  health: service('grpc.health.v1.Health'),
  reflection: service('grpc.reflection.v1.ServerReflection'),
  reflectionAlpha: service('grpc.reflection.v1alpha.ServerReflection')
}
