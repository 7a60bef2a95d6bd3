import { cases, testDoctor } from './doctor-cases.js'
import { admitFiles, fileCases } from './doctor-files.js'

testDoctor({ skip: false, admit: admitFiles }, { ...cases, ...fileCases })
