import t from 'tap'
import { nextUpgrades, type UpgradeStage } from '../../../coordinator/jobs/upgrade-plan.js'

const plan = (stages: UpgradeStage[], atOnce = 1) => ({
  hosts: stages.map((stage, i) => ({
    hostId: `h${i + 1}`,
    stage,
    why: stage === 'failed' ? 'it broke' : ''
  })),
  atOnce
})
const cases: Array<
  [
    why: string,
    plan: ReturnType<typeof plan>,
    out: string[],
    begin: string[],
    isOver: boolean,
    stopped: RegExp
  ]
> = [
  ['one at a time', plan(['waiting', 'waiting']), [], ['h1'], false, /^$/],
  ['the next when the one before is done', plan(['done', 'waiting']), [], ['h2'], false, /^$/],
  ['nothing while one is under way', plan(['draining', 'waiting']), [], [], false, /^$/],
  ['a batch of two', plan(['waiting', 'waiting', 'waiting'], 2), [], ['h1', 'h2'], false, /^$/],
  ['nothing more after a failure', plan(['failed', 'waiting']), [], [], true, /h1 failed: it broke/],
  [
    'what is under way ends after a failure',
    plan(['failed', 'checking', 'waiting'], 2),
    [],
    [],
    false,
    /h1 failed/
  ],
  ['a host that is out anyway takes the place', plan(['waiting', 'waiting']), ['h2'], [], false, /h2/],
  [
    'what the upgrade took out does not count twice',
    plan(['draining', 'waiting'], 2),
    ['h1'],
    ['h2'],
    false,
    /^$/
  ],
  ['over', plan(['done', 'done']), [], [], true, /^$/]
]
for (const [why, given, out, begin, isOver, stopped] of cases) {
  t.test(`a cluster is upgraded: ${why}`, async t => {
    const decision = nextUpgrades(given, out)
    t.strictSame(decision.begin, begin)
    t.equal(decision.isOver, isOver)
    t.match(decision.stopped, stopped)
  })
}
