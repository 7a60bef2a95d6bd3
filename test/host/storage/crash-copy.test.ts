import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { copyOperations } from '../../storage/crash/operations.js'

testCrashes(copyOperations, everyEnding())
