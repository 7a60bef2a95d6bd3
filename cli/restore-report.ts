// What a person looks at after the store was restored from an older backup. PURE.

export type Seen = {
  /** When the last restore was; null when none is known. */
  restored: number | null
  /** Names of the hosts that have yet to tell what they have. */
  awaited: readonly string[]
  hosts: ReadonlyArray<{ name: string; status: string; problem: string }>
  vms: ReadonlyArray<{ name: string; status: string; external: boolean; host: string }>
  findings: ReadonlyArray<{ invariant: string; object: string; text: string }>
  events: ReadonlyArray<{ time: number; kind: string; text: string }>
}
export type Section = { title: string; todo: string; lines: string[] }

const quiet: ReadonlySet<string> = new Set(['UP', 'MAINTENANCE', 'PENDING_ENROLMENT'])
const lost: ReadonlySet<string> = new Set(['UNKNOWN', 'NOT_RESPONDING'])

/** Only what differs: a section without lines is left out. */
export function reportOf({ restored, awaited, hosts, vms, findings, events }: Seen): Section[] {
  const of = (...names: string[]) =>
    findings
      .filter(({ invariant }) => names.includes(invariant))
      .map(({ object, text }) => `${object} ${text}`)
  const others = findings.filter(({ invariant }) => !['I4', 'I5', 'I14'].includes(invariant))
  const sections: Section[] = [
    {
      title: 'Hosts that have not told yet what they have: VMs without a lease wait for them',
      todo: 'Switch them on; or, if they are off and stay off: drover host confirm-stopped, drover host remove.',
      lines: [...awaited]
    },
    {
      title: 'Hosts that are not heard, or refuse this coordinator',
      todo: 'If no other coordinator runs: drover-coordinator adopt-epoch. A host that stays away may know a newer generation: drover host reinstall.',
      lines: hosts
        .filter(({ status }) => !quiet.has(status))
        .map(({ name, status, problem }) => `${name} is ${status}${problem ? `: ${problem}` : ''}`)
    },
    {
      title: 'VMs of which nobody knows where they run',
      todo: 'They wait for the hosts that may have them; when every host is heard and none has it, a VM is lost, and starts again.',
      lines: vms.filter(({ status }) => lost.has(status)).map(({ name, status }) => `${name} is ${status}`)
    },
    {
      title: 'VMs that run and are not in the store: made after the backup',
      todo: 'They run on and are never touched. Make them anew from their disks when they may be down.',
      lines: vms.filter(({ external }) => external).map(({ name, host }) => `${name} on ${host}`)
    },
    {
      title: 'VMs whose record is not what is',
      todo: 'The word of their hosts is taken by itself; what stays here needs a person.',
      lines: of('I14')
    },
    {
      title: 'Disks and leases on storage that are not in the store: made after the backup',
      todo: 'Nothing deletes them. Take disks over with drover storage-domain adopt, or remove them by hand.',
      lines: of('I5')
    },
    {
      title: 'Disks in the store that storage does not have, or has otherwise: changed after the backup',
      todo: 'Do not start VMs with these disks before you have looked: resized, merged and deleted disks appear here.',
      lines: of('I4')
    },
    {
      title: 'Other broken invariants',
      todo: 'See drover audit.',
      lines: others.map(({ invariant, object, text }) => `${invariant} ${object} ${text}`)
    },
    {
      title: 'What happened to hosts and VMs since then',
      todo: 'For the record.',
      lines: events
        .filter(({ kind, time }) => /^(vm|host)\./.test(kind) && restored !== null && time >= restored)
        .map(({ time, text }) => `${new Date(time).toISOString()} ${text}`)
    }
  ]
  return sections.filter(({ lines }) => lines.length > 0)
}
