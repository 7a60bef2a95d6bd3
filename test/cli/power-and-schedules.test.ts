import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { powerOf } from '../../cli/power-devices.js'
import { scheduleOf, scheduleText } from '../../cli/schedules.js'

t.test('several power devices: together by one order, another way by another', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-cli-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(`${folder}/secret`, 'hunter2\n')
  const fenceDevice = [
    `fence_apc,ip=10.0.0.1,plug=3,password-file=${folder}/secret`,
    'fence_apc,ip=10.0.0.2,plug=3',
    'fence_ipmilan,order=1,ip=10.0.0.9,lanplus=1'
  ]
  t.strictSame(powerOf({ fenceDevice }), {
    enabled: true,
    devices: [
      {
        ...{ fenceAgent: 'fence_apc', order: 0, options: { ip: '10.0.0.1', plug: '3' } },
        secretOptions: { password: 'hunter2' }
      },
      { fenceAgent: 'fence_apc', order: 0, options: { ip: '10.0.0.2', plug: '3' }, secretOptions: {} },
      { fenceAgent: 'fence_ipmilan', order: 1, options: { ip: '10.0.0.9', lanplus: '1' }, secretOptions: {} }
    ]
  })
  t.equal(powerOf({}), null)
  t.strictSame(powerOf({ fence: false }), { enabled: false, devices: [] })
  t.throws(() => powerOf({ fenceDevice: ['fence_apc,order=12'] }), /0 to 9/)
  t.throws(() => powerOf({ fenceDevice: ['fence_apc,plug'] }), /NAME=VALUE/)
  t.throws(() => powerOf({ fenceAgent: 'fence_apc', fenceDevice }), /or --fence-device/)
})

const schedules = [
  ['mon-fri 20:00-06:00 reserve=1 power=on', 'mon,tue,wed,thu,fri 20:00-06:00 reserve=1 power=on'],
  ['all 0:00-23:59', 'all 00:00-23:59 reserve=0 power=on'],
  ['sat,sun 08:30-09:00 power=off', 'sun,sat 08:30-09:00 reserve=0 power=off'],
  ['FRI-MON 22:00-5:00', 'sun,mon,fri,sat 22:00-05:00 reserve=0 power=on']
] as const
for (const [text, shown] of schedules) {
  t.test(`a part of the week is read: ${text}`, async t => {
    t.equal(scheduleText(scheduleOf(text)), shown)
  })
}

t.test('what is no schedule is refused with an example', async t => {
  for (const text of [
    '',
    'mon',
    'mon 20:00',
    'moon 1:00-2:00',
    'mon 25:00-26:00',
    'mon 1:00-2:00 reserve=x',
    'mon 1:60-2:00'
  ])
    t.throws(() => scheduleOf(text), /for example "mon-fri/, text)
})
