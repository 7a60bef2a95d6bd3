import t from 'tap'
import { seconds } from '../../../common/units.js'
import {
  parseMultipathConfig,
  queueingSeconds,
  rightNoPathRetry
} from '../../../storage/connections/multipath.js'

const config = `defaults {
	verbosity 2
	polling_interval 5
	no_path_retry "fail"
	user_friendly_names "no"
}
blacklist {
	devnode "!^(sd[a-z]|dasd[a-z]|nvme[0-9])"
	device {
		vendor "SGI"
		no_path_retry "queue"
	}
}
overrides {
	no_path_retry 16
	fast_io_fail_tmo 5
	protocol {
		type "scsi:fcp"
		fast_io_fail_tmo 9
	}
}
`

t.test('overrides win over defaults, and what stands deeper is of single devices', async t => {
  const found = parseMultipathConfig(config)
  t.strictSame(found, { pollingInterval: 5, noPathRetry: '16', fastIoFail: '5', userFriendlyNames: 'no' })
  t.equal(queueingSeconds(found), 80)
})

t.test('I/O is kept as long as the checks say', async t => {
  const kept = (noPathRetry: string | null) =>
    queueingSeconds({ pollingInterval: 10, noPathRetry, fastIoFail: null, userFriendlyNames: null })
  t.equal(kept('4'), 40)
  t.equal(kept('fail'), 0)
  t.equal(kept(null), 0)
  t.equal(kept('queue'), null)
})

t.test('the number of checks follows the I/O timeout of sanlock', async t => {
  t.strictSame(
    [10, 15, 20, 25].map(io => rightNoPathRetry(seconds(io), 5)),
    [16, 24, 32, 40]
  )
})
