import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { blockDataOperations } from './block-operations.js'
import { blockSuite } from './block-suite.js'
import { skipped } from './block-world.js'

testCrashes(Object.keys(blockDataOperations), everyEnding(blockSuite), blockSuite, {
  skip: skipped,
  rotating: true
})
