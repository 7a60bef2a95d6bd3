import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import t from 'tap'
import { LocalLock } from '../../storage/local-lock.js'

t.test('a local storage domain is used by one process at a time', async t => {
  const directory = await mkdtemp('/tmp/drover-lock-')
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await writeFile(`${directory}/ids`, '')
  const [one, two] = [new LocalLock(`${directory}/ids`), new LocalLock(`${directory}/ids`)]
  await one.take()
  await one.take()
  await t.rejects(two.take(), /another process uses/)
  await one.letGo()
  await two.take()
  t.same([one.isHeld, two.isHeld], [false, true])
  await two.letGo()
})
