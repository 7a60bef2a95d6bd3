import { lvmCommands, qemuImgCommands } from './command-kinds.js'
import {
  domainMetadataChecksum,
  domainMetadataFile,
  domainMetadataParse,
  domainMetadataVgTags,
  lvmTagEncoding
} from './domain-kinds.js'
import type { Kind } from './kind.js'
import { lvmTextMetadata, metadataLv } from './lvm-kinds.js'
import { mailboxArea, mailboxChecksums, mailboxMessages, mailboxPage, mailboxTrace } from './mailbox-kinds.js'
import { numbers } from './number-kinds.js'
import { sanlockIds, sanlockLease } from './sanlock-kinds.js'
import {
  volumeMetadataBlock,
  volumeMetadataFile,
  volumeMetadataOverflow,
  volumeMetadataParse
} from './volume-kinds.js'
import { xleasesIndex, xleasesRecords, xleasesWrites } from './xleases-kinds.js'

/** Every structure that can be shown and made from one file. Whole storage domains are in archive.ts. */
export const allKinds: readonly Kind[] = [
  volumeMetadataBlock,
  volumeMetadataFile,
  volumeMetadataOverflow,
  volumeMetadataParse,
  metadataLv,
  domainMetadataFile,
  domainMetadataVgTags,
  domainMetadataParse,
  domainMetadataChecksum,
  lvmTagEncoding,
  lvmTextMetadata,
  sanlockIds,
  sanlockLease,
  xleasesIndex,
  xleasesRecords,
  xleasesWrites,
  mailboxMessages,
  mailboxPage,
  mailboxArea,
  mailboxTrace,
  mailboxChecksums,
  numbers,
  lvmCommands,
  qemuImgCommands
]
