import { sql, type Reader, type Tx } from './query.js'

/** What the installation is, for good or for a reign. */
export type SettingName =
  | 'dataCenterId'
  | 'coordinatorId'
  | 'epoch'
  | 'pageTokenKey'
  | 'ticketKey'
  | 'isClean'
  | 'isStale'
  | 'probe'
  | 'quotaMode'

export function setting(reader: Reader, name: SettingName): string | null {
  return reader.first(sql.selectFrom('setting').select('value').where('name', '=', name))?.value ?? null
}

export function putSetting(tx: Tx, name: SettingName, value: string): void {
  tx.run(
    sql
      .insertInto('setting')
      .values({ name, value })
      .onConflict(conflict => conflict.column('name').doUpdateSet({ value }))
  )
}

/** The value, made on first use. */
export function settingOr(tx: Tx, name: SettingName, make: () => string): string {
  const known = setting(tx, name)
  if (known !== null) return known
  const made = make()
  putSetting(tx, name, made)
  return made
}
