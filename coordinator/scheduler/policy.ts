// Scheduling policies as data: which filters, which weights with which factors, how the winner is picked,
// who keeps the balance, and with which numbers. PURE.

export const filterNames = [
  ...['cluster-maintenance', 'cpu-overloaded', 'cpu-overcommit', 'swap', 'memory', 'memory-overcommit'],
  ...['huge-pages', 'numa', 'network', 'affinity-hosts', 'affinity-vms']
] as const
export type FilterName =
  | 'cluster-maintenance'
  | 'cpu-overloaded'
  | 'cpu-overcommit'
  | 'swap'
  | 'memory'
  | 'memory-overcommit'
  | 'huge-pages'
  | 'numa'
  | 'network'
  | 'affinity-hosts'
  | 'affinity-vms'

export const weightNames = [
  'cpu-even',
  'memory-even',
  'guests-even',
  'cpu-full',
  'memory-full',
  'preferred-host',
  'ha-spread',
  'affinity-hosts',
  'affinity-vms'
] as const
export type WeightName = (typeof weightNames)[number]

export type Balancer = 'none' | 'even' | 'even-guests' | 'power-saving'

/** The numbers of a policy; percentages are of all CPUs of a host. */
export type Parameters = {
  /** A host above this is overloaded, 50 to 99 %. */
  highUtilization: number
  /** A host below this is not worth its power, 0 to 49 %. */
  lowUtilization: number
  /** How long a load must last before something is done about it, 1 to 60. */
  overloadMinutes: number
  /** Virtual CPUs per CPU from which on a host counts as overloaded; 0 is never. */
  vcpusPerCpu: number
  /** A host with less free memory (MiB) than this is overloaded; 0 is never. */
  memoryLowMib: number
  /** Hosts must have more free memory (MiB) than this to take VMs for balance. */
  memoryHighMib: number
  /** Even guests: nothing is done below so many VMs on a host. */
  highVmCount: number
  /** Even guests: VMs that source and destination must differ by, at least 2. */
  migrationThreshold: number
  /** Even guests: VMs that managing a storage domain counts as. */
  managerGrace: number
  /** Empty hosts that stay switched on. */
  hostsInReserve: number
  /** Whether hosts that are not needed are switched off. */
  switchesHosts: boolean
  /** VMs that balancing moves at the same time, 1 to 16. */
  movesAtOnce: number
}

export const standardParameters: Parameters = {
  highUtilization: 80,
  lowUtilization: 20,
  overloadMinutes: 2,
  vcpusPerCpu: 0,
  memoryLowMib: 0,
  memoryHighMib: 0,
  highVmCount: 10,
  migrationThreshold: 5,
  managerGrace: 5,
  hostsInReserve: 0,
  switchesHosts: false,
  movesAtOnce: 2
}

/** Bounds of what a person may give, for both the API and its pages. */
export const parameterBounds: Readonly<Record<keyof Parameters, readonly [least: number, most: number]>> = {
  highUtilization: [50, 99],
  lowUtilization: [0, 49],
  overloadMinutes: [1, 60],
  vcpusPerCpu: [0, 100],
  memoryLowMib: [0, 16_777_216],
  memoryHighMib: [0, 16_777_216],
  highVmCount: [1, 10_000],
  migrationThreshold: [2, 1000],
  managerGrace: [0, 1000],
  hostsInReserve: [0, 250],
  switchesHosts: [0, 1],
  movesAtOnce: [1, 16]
}

export type Policy = {
  name: string
  filters: readonly FilterName[]
  /** Factors; a unit that is absent is not asked. */
  weights: Readonly<Partial<Record<WeightName, number>>>
  /** `weighted`: least sum of factor x weight. `ranked`: greatest sum of factor x rank, whatever the scales. */
  selector: 'weighted' | 'ranked'
  balancer: Balancer
  parameters: Parameters
}

const standardFilters: readonly FilterName[] = [
  ...(['cpu-overcommit', 'cpu-overloaded', 'swap', 'memory', 'memory-overcommit', 'huge-pages'] as const),
  ...(['numa', 'network', 'affinity-hosts', 'affinity-vms'] as const)
]
/** Preferences that all built-in policies have. */
const commonWeights = { 'preferred-host': 5, 'affinity-hosts': 20, 'affinity-vms': 10, 'ha-spread': 1 }
const even = { 'cpu-even': 2, 'memory-even': 1, ...commonWeights }
const base = {
  filters: standardFilters,
  selector: 'weighted',
  balancer: 'none',
  parameters: standardParameters
} as const

/** The ones that are always there. They never change: who wants another one makes it. */
export const builtInPolicies = {
  none: { ...base, name: 'none', weights: even },
  evenly_distributed: { ...base, name: 'evenly_distributed', weights: even, balancer: 'even' },
  vm_evenly_distributed: {
    ...base,
    name: 'vm_evenly_distributed',
    weights: { 'guests-even': 2, ...commonWeights },
    balancer: 'even-guests'
  },
  power_saving: {
    ...base,
    name: 'power_saving',
    weights: { 'cpu-full': 2, 'memory-full': 1, ...commonWeights },
    balancer: 'power-saving'
  },
  cluster_maintenance: {
    ...base,
    name: 'cluster_maintenance',
    filters: ['cluster-maintenance', ...standardFilters],
    weights: even
  }
} as const satisfies Record<string, Policy>

export type BuiltInName = keyof typeof builtInPolicies
export const isBuiltIn = (name: string): name is BuiltInName => Object.hasOwn(builtInPolicies, name)
