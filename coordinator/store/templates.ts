import type { Insertable, Selectable, Updateable } from 'kysely'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import type { TemplateTable } from './tables.js'

export type Template = Selectable<TemplateTable> & { diskIds: string[] }

export function templateOrNull(reader: Reader, id: string): Template | null {
  const found = reader.first(sql.selectFrom('template').selectAll().where('id', '=', id))
  return found && { ...found, diskIds: templateDisks(reader, id) }
}

export function template(reader: Reader, id: string): Template {
  const found = templateOrNull(reader, id)
  if (!found) throw notFound('template', id)
  return found
}

/** In boot order. */
const templateDisks = (reader: Reader, templateId: string): string[] =>
  reader
    .all(
      sql.selectFrom('templateDisk').select('diskId').where('templateId', '=', templateId).orderBy('ordinal')
    )
    .map(row => row.diskId)

export function insertTemplate(tx: Tx, row: Insertable<TemplateTable>, diskIds: readonly string[]): void {
  tx.run(sql.insertInto('template').values(row))
  for (const [ordinal, diskId] of diskIds.entries()) {
    tx.run(sql.insertInto('templateDisk').values({ templateId: row.id, diskId, ordinal }))
  }
}

export function updateTemplate(tx: Tx, id: string, change: Updateable<TemplateTable>): void {
  tx.run(
    sql
      .updateTable('template')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

export function deleteTemplateRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('template').where('id', '=', id))
}

export const vmsOfTemplate = (reader: Reader, templateId: string): string[] =>
  reader.all(sql.selectFrom('vm').select('id').where('templateId', '=', templateId)).map(row => row.id)
