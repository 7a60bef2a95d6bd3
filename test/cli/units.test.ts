import t from 'tap'
import { details, harmless, plainJson, table } from '../../cli/print.js'
import { formatEnum, formatSize, formatTime, parseSize } from '../../cli/units.js'
import { progressLine } from '../../cli/wait.js'

const sizes: Array<[text: string, bytes: string]> = [
  ['4096', '4096'],
  ['512M', '536870912'],
  ['10G', '10737418240'],
  ['10GiB', '10737418240'],
  ['1t', '1099511627776'],
  ['9007199254740993', '9007199254740993']
]
t.test('sizes are read in powers of 1024, exactly', async t => {
  for (const [text, bytes] of sizes) {
    t.equal(parseSize(text), bytes, text)
  }
  for (const wrong of ['', '-1', '1.5G', 'G', '10 X', '99999999P']) t.throws(() => parseSize(wrong), wrong)
})

t.test('values are shown as people read them', async t => {
  t.equal(formatSize('0'), '0 B')
  t.equal(formatSize('1536'), '1.5 KiB')
  t.equal(formatSize('10737418240'), '10 GiB')
  t.equal(formatTime({ seconds: '1800000000', nanos: 5e8 }), '2027-01-15 08:00:00Z')
  t.equal(formatEnum('VM_STATUS_POWERING_UP', 'VM_STATUS'), 'powering_up')
  t.equal(formatEnum(99, 'VM_STATUS'), '99', 'a value of a later version')
})

t.test('JSON has times as text and bytes as base64', async t => {
  const message = { time: { seconds: '0', nanos: 1e6 }, data: Buffer.from('ab'), list: [{ n: '1' }] }
  t.strictSame(plainJson(message), { time: '1970-01-01T00:00:00.001Z', data: 'YWI=', list: [{ n: '1' }] })
})

t.test('details leave out what is empty, and indent what is inside', async t => {
  const vm = {
    name: 'web',
    hostId: '',
    ha: { enabled: true },
    nics: [{ mac: 'a', slot: 1 }],
    guest: { users: [] }
  }
  t.equal(details(vm), 'name: web\nha:\n  enabled: true\nnics:\n  - mac: a\n    slot: 1')
})

t.test('tables line up, and hold on one line what had several', async t => {
  t.equal(
    table(
      ['A', 'B'],
      [
        ['1', 'x\ny'],
        ['22', '']
      ]
    ),
    'A   B\n1   x y\n22'
  )
})

t.test('terminal escapes are shown, not obeyed', async t => {
  t.equal(harmless('a\u001b[2Jb\u202ec\nd'), 'a\uFFFD[2Jb\uFFFDc\nd')
})

t.test('a job is one line', async t => {
  const step = { attempts: 1, hostId: '', started: null, ended: null, progress: null, failure: null }
  const line = progressLine({
    jobId: '',
    kind: 'disk.copy',
    state: 'JOB_STATE_RUNNING',
    objects: {},
    progress: { percent: 50, doneBytes: '1073741824', totalBytes: '2147483648', phase: 'copying' },
    steps: [{ ...step, name: 'copy', state: 'STEP_STATE_RUNNING' }],
    failure: null,
    result: {},
    created: null,
    ended: null,
    actor: '',
    requestId: ''
  })
  t.equal(line, 'disk.copy  [############............]  50 %  1 GiB of 2 GiB  step 1/1 copy  copying')
})
