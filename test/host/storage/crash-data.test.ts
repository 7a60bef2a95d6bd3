import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { dataOperations } from '../../storage/crash/operations.js'

testCrashes(dataOperations, everyEnding())
