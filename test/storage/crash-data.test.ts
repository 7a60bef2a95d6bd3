import { halfway, testCrashes } from './crash/crash.js'
import { dataOperations } from './crash/operations.js'

testCrashes(dataOperations, halfway)
