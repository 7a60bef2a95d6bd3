import { halfway, testCrashes } from './crash/crash.js'
import { dataOperations, operations, volumeOperations } from './crash/operations.js'

const others = Object.keys(operations).filter(
  name => ![...volumeOperations, ...dataOperations].includes(name)
)
testCrashes(others, halfway)
