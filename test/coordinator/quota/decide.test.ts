import t from 'tap'
import { decideQuota, type QuotaMode } from '../../../coordinator/quota/decide.js'

const rows: Array<[mode: QuotaMode, after: number, kind: string]> = [
  ['enforced', 8, 'fine'],
  ['enforced', 9, 'warned'],
  ['enforced', 10, 'warned'],
  ['enforced', 12, 'warned'],
  ['enforced', 13, 'refused'],
  ['audit', 8, 'fine'],
  ['audit', 13, 'warned'],
  ['disabled', 1000, 'fine']
]
for (const [mode, after, kind] of rows) {
  t.test(`${after} of 10 with a threshold of 80 % and a grace of 20 % is ${kind} when ${mode}`, async t => {
    const asked = { resource: 'vcpus' as const, after, limit: 10, thresholdPercent: 80, gracePercent: 20 }
    t.equal(decideQuota(mode, asked).kind, kind)
    t.equal(decideQuota(mode, { ...asked, limit: null }).kind, 'fine')
  })
}

t.test('a limit of nothing gives nothing', async t => {
  const asked = { resource: 'storage' as const, after: 1, limit: 0, thresholdPercent: 80, gracePercent: 20 }
  t.equal(decideQuota('enforced', asked).kind, 'refused')
})
