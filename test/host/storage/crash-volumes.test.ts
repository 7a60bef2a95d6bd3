import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { volumeOperations } from '../../storage/crash/operations.js'

testCrashes(volumeOperations, everyEnding())
