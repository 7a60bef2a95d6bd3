import t from 'tap'
import { judge, type Recorded, type Sighting, type Verdict } from '../../coordinator/observed-vm.js'

const down: Recorded = {
  ...{ generation: 3, observedGeneration: 2, status: 'down', hostId: null, migratingToHostId: null },
  isHostHeard: true
}
const upOnA: Recorded = { ...down, observedGeneration: 3, status: 'up', hostId: 'A' }
const leavingA: Recorded = { ...upOnA, status: 'migrating_from', migratingToHostId: 'B' }

const says = (hostId: string, status: Sighting['status'], more: Partial<Sighting> = {}): Sighting => {
  return { hostId, status, generation: 3, exitReason: '', ...more }
}

const table: Array<[string, Recorded, Sighting, Verdict]> = [
  ['an earlier life is a ghost', upOnA, says('B', 'up', { generation: 2 }), { kind: 'ghost' }],
  [
    'where nothing came of later starts, an earlier life that runs is the VM',
    down,
    says('B', 'up', { generation: 2 }),
    { kind: 'believe', hostId: 'B' }
  ],
  [
    'an earlier life that is paused stays a ghost: its disk may have been written since',
    down,
    says('B', 'paused', { generation: 2 }),
    { kind: 'ghost' }
  ],
  [
    'an earlier life that runs stays a ghost where a later one was seen',
    { ...down, observedGeneration: 3 },
    says('B', 'up', { generation: 2 }),
    { kind: 'ghost' }
  ],
  [
    'an earlier life that is down stays a ghost',
    down,
    says('B', 'down', { generation: 2 }),
    { kind: 'ghost' }
  ],
  [
    'a later start that came to nothing elsewhere says nothing of the VM that runs',
    upOnA,
    says('B', 'down', { generation: 4 }),
    { kind: 'ignore' }
  ],
  [
    'a source whose start is not on record says that the VM left',
    upOnA,
    says('A', 'down', { generation: 4, exitReason: 'migrated' }),
    { kind: 'left' }
  ],
  ['the first word of a new start counts', down, says('A', 'up'), { kind: 'believe', hostId: 'A' }],
  [
    'a start that failed is believed',
    down,
    says('A', 'down', { exitReason: 'failed' }),
    { kind: 'believe', hostId: null }
  ],
  [
    'a host that knows a later start is believed',
    upOnA,
    says('B', 'up', { generation: 4 }),
    { kind: 'believe', hostId: 'B' }
  ],
  ['the owner is believed', upOnA, says('A', 'paused'), { kind: 'believe', hostId: 'A' }],
  [
    'a crash keeps its host in mind',
    upOnA,
    says('A', 'down', { exitReason: 'crashed' }),
    { kind: 'believe', hostId: 'A' }
  ],
  ['a second host is not believed while the first runs it', upOnA, says('B', 'up'), { kind: 'ignore' }],
  [
    'a second host is believed while the first is silent: the record is older than the migration',
    { ...upOnA, isHostHeard: false },
    says('B', 'up'),
    { kind: 'believe', hostId: 'B' }
  ],
  [
    'a paused VM too',
    { ...upOnA, isHostHeard: false },
    says('B', 'paused'),
    { kind: 'believe', hostId: 'B' }
  ],
  [
    'a silent owner may still have what arrives elsewhere',
    { ...upOnA, isHostHeard: false },
    says('B', 'migrating_to'),
    { kind: 'arriving' }
  ],
  [
    'a source that is late is not believed either while the destination is silent',
    { ...upOnA, hostId: 'B', isHostHeard: false },
    says('A', 'migrating_from'),
    { kind: 'ignore' }
  ],
  ['a destination is only noted', upOnA, says('B', 'migrating_to'), { kind: 'arriving' }],
  [
    'a destination is only noted, also while nobody knows of the source',
    { ...upOnA, status: 'unknown' },
    says('B', 'migrating_to'),
    { kind: 'arriving' }
  ],
  [
    'and when it gives up, the source still may have it',
    { ...upOnA, status: 'unknown', migratingToHostId: 'B' },
    says('B', 'down', { exitReason: 'failed' }),
    { kind: 'notArriving' }
  ],
  ['the destination has it once it says so', leavingA, says('B', 'up'), { kind: 'believe', hostId: 'B' }],
  [
    'a source that let go leaves it to the destination',
    leavingA,
    says('A', 'down', { exitReason: 'migrated' }),
    { kind: 'left' }
  ],
  [
    'a late source says nothing new',
    { ...upOnA, hostId: 'B' },
    says('A', 'migrating_from'),
    { kind: 'ignore' }
  ],
  [
    'a late end at the source says nothing new',
    { ...upOnA, hostId: 'B' },
    says('A', 'down', { exitReason: 'migrated' }),
    { kind: 'ignore' }
  ],
  [
    'a destination that gives up leaves it to the source',
    leavingA,
    says('B', 'down', { exitReason: 'failed' }),
    { kind: 'notArriving' }
  ],
  ['a source that stays keeps it', leavingA, says('A', 'up'), { kind: 'believe', hostId: 'A' }],
  [
    'a VM of a silent host is where it is seen',
    { ...upOnA, status: 'unknown' },
    says('B', 'up'),
    { kind: 'believe', hostId: 'B' }
  ]
]

for (const [title, known, seen, verdict] of table) {
  t.test(title, async t => void t.strictSame(judge(seen, known), verdict))
}
