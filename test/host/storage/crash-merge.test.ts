import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { mergeOperations } from '../../storage/crash/operations.js'

testCrashes(mergeOperations, everyEnding())
