import '../welcome/welcome.css';
import type { ViewProps } from '../session.ts';
import { WelcomePage } from '../welcome/welcome-page.tsx';

export default function View({ session }: ViewProps) {
  return <WelcomePage session={session} />;
}
