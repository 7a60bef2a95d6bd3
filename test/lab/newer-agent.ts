import type { Lab } from './lab.js'

/** A host that has this file cannot be brought to another version: the package's script looks for it and fails. */
export const refusal = '/etc/drover/refuses-upgrade'

/**
 * The packages that are installed, as a version that apt takes for newer, in a repository that is the only one of
 * these hosts. Its name.
 */
export async function offerNewerAgent(lab: Lab, hosts: readonly string[]): Promise<string> {
  const [first = ''] = hosts
  const version = await lab.shell(first, repack, { seconds: 180 })
  const sources = `rm -f /etc/apt/sources.list.d/*
    echo 'deb [trusted=yes] file:/lab/files/repository ./' >/etc/apt/sources.list
    echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/lab`
  await Promise.all(hosts.map(host => lab.shell(host, sources)))
  return version
}

export const agentVersion = (lab: Lab, host: string): Promise<string> =>
  lab.shell(host, "dpkg-query -W -f '${Version}' drover-agent")

const repack = `mkdir -p /lab/files/repository; cd /lab/files/repository; rm -rf ./*
old=$(dpkg-query -W -f '\${Version}' drover-agent); new=$old+1
for package in drover-common drover-agent; do
  dpkg-deb -R /lab/files/\${package}_*.deb tree
  sed -i "/^Version:/s/:.*/: $new/; s/drover-common (= [^)]*)/drover-common (= $new)/" tree/DEBIAN/control
  [ $package = drover-common ] ||
    sed -i '2a [ ! -e ${refusal} ] || { echo "this host is not fit for the new version" >&2; exit 1; }' tree/DEBIAN/postinst
  file=\${package}_\${new}_amd64.deb
  dpkg-deb -Zgzip -z1 --root-owner-group -b tree $file >/dev/null
  rm -r tree
  { dpkg-deb -f $file; echo "Filename: ./$file"; echo "Size: $(stat -c %s $file)"
    echo "SHA256: $(sha256sum $file | cut -d ' ' -f 1)"; echo; } >>Packages
done
echo "$new"`
