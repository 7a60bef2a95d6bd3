import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { otherOperations } from '../../storage/crash/operations.js'

testCrashes(otherOperations, everyEnding())
