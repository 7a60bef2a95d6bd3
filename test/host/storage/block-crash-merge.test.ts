import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { blockMergeOperations } from './block-operations.js'
import { blockSuite } from './block-suite.js'
import { skipped } from './block-world.js'

testCrashes(Object.keys(blockMergeOperations), everyEnding(blockSuite), blockSuite, {
  skip: skipped,
  rotating: true,
  step: 2
})
