import { Fault } from '../common/fault.js'
import { isCode } from './files.js'
import {
  type ImageFile,
  NotAnImageFile,
  openImageFile as openRegularFile
} from './image-inspector/image-file.js'

/** A regular file for the inspector; what is none, or not there, is a fault that names the rule. */
export async function openImageFile(path: string): Promise<ImageFile> {
  try {
    return await openRegularFile(path)
  } catch (cause) {
    if (isCode(cause, 'ENOENT', 'ENOTDIR'))
      throw new Fault('NOT_FOUND', 'there is no such image file', { cause })
    if (!(cause instanceof NotAnImageFile) && !isCode(cause, 'ENXIO')) throw cause
    const text = `${new NotAnImageFile('').rule}: only regular files are images`
    throw new Fault('IMAGE_REFUSED', text, { cause, facts: { rule: 'not-a-file' } })
  }
}
