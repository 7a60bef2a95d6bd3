import type { Caller } from '../../common/identity.js'

/** Who asks, as events, jobs and audit records name them: "local", "admin/NAME", "host/ID". */
export function actorOf({ role, id }: Pick<Caller, 'role' | 'id'>): string {
  if (role === 'LOCAL_ADMIN') return 'local'
  return role === 'ANONYMOUS' ? 'anonymous' : `${role.toLowerCase()}/${id}`
}
