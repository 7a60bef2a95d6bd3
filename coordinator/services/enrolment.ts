import { formatHostPort } from '../../common/address-rules.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { EnrolmentServiceDefinition } from '../../proto/generated/types/drover/v1/EnrolmentService.js'
import type { Enrolment } from '../trust/enrolment.js'
import type { CertificateAuthority } from '../trust/ca.js'

/** Open to callers without a certificate: the token is the proof. */
export function enrolmentService(
  enrolment: Enrolment,
  ca: CertificateAuthority
): Handlers<EnrolmentServiceDefinition> {
  return {
    enrol: unary({
      check: read,
      method: async (request, { caller }) => {
        const { hostId, hostGeneration, certificate } = await enrolment.enrol(request, caller.address)
        return {
          ...{ hostId, hostGeneration: String(hostGeneration), installationId: ca.installationId },
          ...{ certificatePem: certificate, trustPem: ca.trust }
        }
      }
    })
  }
}

const read = (fields: Fields) => ({
  token: fields.name('token', 256),
  csr: fields.bytes('csr', 4096, 1),
  hardwareId: fields.matching(
    'hardwareId',
    /^[A-Za-z0-9._:-]{1,64}$/,
    'must be the hardware UUID of the host'
  ),
  hostname: fields.matching('hostname', /^[A-Za-z0-9._-]{1,253}$/, 'must be a host name'),
  address: formatHostPort(fields.hostPort('address')),
  bootId: fields.uuid('bootId')
})
