import { cases } from './doctor-cases.js'
import { testDoctorCutOff } from './doctor-cut-off.js'
import { admitFiles, fileCases } from './doctor-files.js'

testDoctorCutOff({ skip: false, admit: admitFiles }, { ...cases, ...fileCases })
