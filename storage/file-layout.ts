// Where things lie in a file storage domain, format V5:
//
//   <mount>/<storageDomainId>/dom_md/{metadata,ids,leases,xleases,inbox,outbox}
//                             images/<imageId>/<volumeId>         data
//                             images/<imageId>/<volumeId>.meta    who it is; without it the volume does not exist
//                             images/<imageId>/<volumeId>.lease   sanlock resource
//                             images/_remove_me_<imageId>/        removed, not yet purged
//                             .drover/<sanlockHostId>/            scratch of one host, beside the format
export type FileLayout = ReturnType<typeof fileLayout>

export const removedPrefix = '_remove_me_'
/** Removed, and to be overwritten with zeroes before its space is given back. */
export const wipedPrefix = '_remove_me_ZERO_'

/** All paths of one storage domain, from the directory that has its id as name. */
export function fileLayout(directory: string) {
  const special = (name: string) => `${directory}/dom_md/${name}`
  const images = `${directory}/images`
  const image = (imageId: string) => `${images}/${imageId}`
  const volume = (imageId: string, volumeId: string) => `${image(imageId)}/${volumeId}`
  return {
    directory,
    special: `${directory}/dom_md`,
    metadata: special('metadata'),
    ids: special('ids'),
    leases: special('leases'),
    xleases: special('xleases'),
    inbox: special('inbox'),
    outbox: special('outbox'),
    images,
    image,
    removed: (imageId: string, wipe: boolean) => `${images}/${wipe ? wipedPrefix : removedPrefix}${imageId}`,
    volume,
    meta: (imageId: string, volumeId: string) => `${volume(imageId, volumeId)}.meta`,
    lease: (imageId: string, volumeId: string) => `${volume(imageId, volumeId)}.lease`,
    scratch: (sanlockHostId: number) => `${directory}/.drover/${sanlockHostId}`,
    scratchRoot: `${directory}/.drover`
  }
}

export const mailboxSize = 16 * 2 ** 20
