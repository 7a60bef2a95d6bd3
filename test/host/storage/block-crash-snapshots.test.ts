import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { blockSnapshotOperations } from './block-operations.js'
import { blockSuite } from './block-suite.js'
import { skipped } from './block-world.js'

testCrashes(Object.keys(blockSnapshotOperations), everyEnding(blockSuite), blockSuite, {
  skip: skipped,
  rotating: true
})
